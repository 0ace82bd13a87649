"""Records behave like the dataclasses of the standard library."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from sockact.core import record

MODULES = [
    pytest.param(dataclasses, id="dataclasses"),
    pytest.param(record, id="record"),
]


def made(module: Any, **options: bool) -> Any:
    """The same class as a standard dataclass."""

    class Point:
        x: int
        y: int = 2
        tags: list[str] = module.field(default_factory=list)

        def sum(self) -> int:
            return self.x + self.y

    return module.dataclass(**options)(Point) if options else module.dataclass(Point)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"frozen": True, "slots": True}])
class TestAlike:
    def test_values(self, module: Any, options: dict[str, bool]) -> None:
        point = made(module, **options)
        assert vars_of(point(1)) == {"x": 1, "y": 2, "tags": []}
        assert vars_of(point(1, tags=["a"], y=3)) == {"x": 1, "y": 3, "tags": ["a"]}
        assert vars_of(point(1, 5, ["b"])) == {"x": 1, "y": 5, "tags": ["b"]}
        assert point(1).sum() == 3
        assert point(1).tags is not point(1).tags

    @pytest.mark.parametrize(
        ("values", "named"),
        [((), {}), ((1, 2, [], 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1})],
    )
    def test_wrong_values(
        self, module: Any, options: dict[str, bool], values: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        with pytest.raises(TypeError):
            made(module, **options)(*values, **named)

    def test_comparing(self, module: Any, options: dict[str, bool]) -> None:
        point, other = made(module, **options), made(module, **options)
        assert point(1) == point(1, 2)
        assert point(1) != point(2)
        assert point(1) != other(1)
        assert point(1) != (1, 2, [])
        if options.get("frozen"):
            assert hash(point(1, 2, ())) == hash(point(1, 2, ()))
        else:
            with pytest.raises(TypeError, match="unhashable"):
                hash(point(1))

    def test_changing(self, module: Any, options: dict[str, bool]) -> None:
        one = made(module, **options)(1)
        if options.get("frozen"):
            with pytest.raises(AttributeError):
                one.x = 2
            with pytest.raises(AttributeError):
                del one.x
        else:
            one.x = 2
        with pytest.raises(TypeError):
            module.replace(one, z=1)
        assert module.replace(one, y=7).y == 7
        assert module.replace(one, y=7).x == one.x
        assert one.y == 2

    def test_matching_and_naming(self, module: Any, options: dict[str, bool]) -> None:
        point = made(module, **options)
        match point(4, 5):
            case SimpleNamespace():
                raise AssertionError
            case point(x, y):
                assert (x, y) == (4, 5)
        assert repr(point(1)) == f"{point.__qualname__}(x=1, y=2, tags=[])"
        assert module.asdict(point(1)) == {"x": 1, "y": 2, "tags": []}

    def test_memory(self, module: Any, options: dict[str, bool]) -> None:
        assert hasattr(made(module, **options)(1), "__dict__") is not options.get("slots", False)


def vars_of(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("x", "y", "tags")}
