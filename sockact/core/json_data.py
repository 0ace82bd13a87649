"""Records as JSON data, and back: what one version of sockact passes on to the next.

A record is an object with a member for each field, a tuple is a list, an enum its value. A field is
read as its annotation says; data that does not fit is refused. A field that is missing in the data
gets its default, because an older version did not have it. A member that the record has no field
for comes from a newer version, and is refused.
"""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    Json = dict[str, object]
    """A JSON object."""
    Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
    R = TypeVar("R")

_SIMPLE: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
}
_TUPLE, _ANY_LENGTH = "tuple[", ", ...]"
_OPTIONAL = " | None"


def plain(value: object) -> Plain:
    """A record, or a value of one, as JSON data. Raises TypeError for other types."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    names = getattr(value, "__match_args__", None)
    if names is None:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return {name: plain(getattr(value, name)) for name in names}


class Reader:
    """Reads records of these types, which refer to each other by name in their annotations."""

    def __init__(self, *kinds: type) -> None:
        self._kinds: Mapping[str, type] = {kind.__name__: kind for kind in kinds}

    def read(self, kind: type[R], data: object) -> R:
        """Read a record. Raises ValueError, which names the member that does not fit."""
        found = self._value(kind.__name__, data, kind.__name__)
        assert isinstance(found, kind)
        return found

    def _value(self, annotation: str, data: object, where: str) -> object:
        if annotation.endswith(_OPTIONAL):
            return None if data is None else self._value(annotation[: -len(_OPTIONAL)], data, where)
        if annotation.startswith(_TUPLE):
            return self._tuple(annotation[len(_TUPLE) : -len(_ANY_LENGTH)], data, where)
        if annotation in _SIMPLE:
            return _simple(annotation, data, where)
        kind = self._kinds[annotation]
        if issubclass(kind, Enum):
            return _member(kind, data, where)
        return self._record(kind, data, where)

    def _tuple(self, annotation: str, data: object, where: str) -> tuple[object, ...]:
        if not isinstance(data, list):
            raise ValueError(f"{where}: must be a list")
        return tuple(self._value(annotation, one, where) for one in data)

    def _record(self, kind: Callable[..., object], data: object, where: str) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"{where}: must be an object")
        annotations: dict[str, str] = kind.__annotations__
        if unknown := data.keys() - annotations.keys():
            raise ValueError(f"{where}: unknown member {min(map(str, unknown))}")
        values = {
            name: self._value(annotations[name], one, f"{where}.{name}")
            for name, one in data.items()
        }
        try:
            return kind(**values)
        except TypeError:
            raise ValueError(f"{where}: a member is missing") from None


def _simple(annotation: str, data: object, where: str) -> object:
    fits = isinstance(data, _SIMPLE[annotation])
    # To Python, True is an int.
    if not fits or isinstance(data, bool) is not (annotation == "bool"):
        raise ValueError(f"{where}: must be of type {annotation}")
    return data


def _member(kind: type[Enum], data: object, where: str) -> Enum:
    try:
        return kind(data)
    except ValueError:
        raise ValueError(f"{where}: unknown value {data!r}") from None
