"""Records as plain data, as JSON has it, and back: what one version of the code leaves to the next.

A record is an object with its fields by name, a tuple is a list, an enum its value. The annotation
of a field says how it is read; nothing is read that does not fit. A field that the data lacks has
its default: an older version did not know it. One that the record lacks comes from a newer version,
and is refused.
"""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    Json = dict[str, object]
    """A JSON object that is only written."""
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
    """A record, or what can be in one, as plain data. Raises TypeError for anything else."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    names = getattr(value, "__match_args__", None)
    if names is None:
        raise TypeError(f"{type(value).__name__} cannot be plain data")
    return {name: plain(getattr(value, name)) for name in names}


class Reader:
    """Reads records of these kinds, and those in them; each has its name in the annotations."""

    def __init__(self, *kinds: type) -> None:
        self._kinds: Mapping[str, type] = {kind.__name__: kind for kind in kinds}

    def read(self, kind: type[R], data: object) -> R:
        """The record. Raises ValueError, which says what does not fit."""
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
            raise ValueError(f"{where}: a list is needed")
        return tuple(self._value(annotation, one, where) for one in data)

    def _record(self, kind: Callable[..., object], data: object, where: str) -> object:
        if not isinstance(data, dict):
            raise ValueError(f"{where}: an object is needed")
        annotations: dict[str, str] = kind.__annotations__
        if unknown := data.keys() - annotations.keys():
            raise ValueError(f"{where}: {min(map(str, unknown))} is not known here")
        values = {
            name: self._value(annotations[name], one, f"{where}.{name}")
            for name, one in data.items()
        }
        try:
            return kind(**values)
        except TypeError:
            raise ValueError(f"{where}: something is missing") from None


def _simple(annotation: str, data: object, where: str) -> object:
    fits = isinstance(data, _SIMPLE[annotation])
    # To Python, true is a number.
    if not fits or isinstance(data, bool) is not (annotation == "bool"):
        raise ValueError(f"{where}: {annotation} is needed")
    return data


def _member(kind: type[Enum], data: object, where: str) -> Enum:
    try:
        return kind(data)
    except ValueError:
        raise ValueError(f"{where}: {data!r} is not known here") from None
