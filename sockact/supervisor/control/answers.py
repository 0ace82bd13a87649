"""What the answers of a supervisor must be: org.sockact.Service.varlink, applied to them.

Root asks supervisors of other users, and whatever listens in their place. What passes here has the
described types, and numbers and lengths that no command stumbles over. Members that are not
described are left out. Of those that are missing inside the result, texts, lists and flags are
empty, as from an earlier version that did not have them. So commands index what is described, and
need no defaults.
"""

from __future__ import annotations

import os

from sockact.supervisor.control import varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sockact.supervisor.control.varlink import JsonObject

    Fields = list[tuple[str, str, str]]
    """Name, "?" or "[]" or "", type."""

LARGEST = 2**53
"""No counter, size or time in microseconds is larger; JSON has no larger exact numbers, either."""
LARGEST_PID = 1 << 22
"""PID_MAX_LIMIT of the kernel."""
_LONGEST_TEXT = 1 << 16
_MOST_SIMPLE, _MOST_STRUCTURES = 1 << 16, 1 << 10
_EMPTY: dict[str, object] = {"string": "", "bool": False}


class Unfit(Exception):
    """The answer is not what the interface describes: where, and why."""


def result(method: str, found: JsonObject) -> JsonObject:
    """The result of this method. Raises Unfit."""
    fields = _described().get(("method", method))
    return found if fields is None else _structure(fields, found, "", whole=True)


def error(name: str, found: JsonObject) -> JsonObject:
    """The parameters of this error, by its full name; none of an unknown one. Raises Unfit."""
    interface, _, member = name.rpartition(".")
    fields = _described().get(("error", member)) if interface == varlink.INTERFACE else None
    return _structure(fields or [], found, "")


def description(interface: str) -> str:
    """The text of an interface. Raises OSError."""
    path = os.path.join(os.path.dirname(__file__), f"{interface}.varlink")
    with open(path, encoding="utf-8") as file:
        return file.read()


_known: dict[tuple[str, str], Fields] = {}


def _described() -> dict[tuple[str, str], Fields]:
    """The kind of a definition and its name → its fields; those of the result for a method."""
    if not _known:
        lines = description(varlink.INTERFACE).splitlines()
        text = " ".join(line for line in lines if not line.startswith("#"))
        *definitions, _ = text.replace(") -> (", " -> ").split(")")
        for definition in definitions:
            head, _, members = definition.partition("(")
            kind, name = head.split()[-2:]
            _known[kind, name] = _fields(members.rpartition(" -> ")[2])
    return _known


def _fields(members: str) -> Fields:
    """The fields in `NAME: TYPE, …`."""
    # Not by `re`, which takes longer to load and to compile patterns.
    found = []
    for member in members.split(",") if members.strip() else ():
        name, kind = member.split(": ")
        bare = kind.strip().lstrip("?[]")
        found.append((name.strip(), kind.strip().removesuffix(bare), bare))
    return found


def _structure(fields: Fields, found: object, where: str, *, whole: bool = False) -> JsonObject:
    if not isinstance(found, dict):
        raise Unfit(f"{where} must be an object")
    checked = {}
    for name, prefix, kind in fields:
        place = f"{where}.{name}" if where else name
        if name in found:
            checked[name] = _value(prefix, kind, found[name], place)
        elif prefix == "?" or (not whole and (prefix or kind in _EMPTY)):
            checked[name] = {"?": None, "[]": []}.get(prefix, _EMPTY.get(kind))
        else:
            raise Unfit(f"{place} is missing")
    return checked


def _value(prefix: str, kind: str, found: object, where: str) -> object:
    if prefix == "?" and found is None:
        return None
    if prefix == "[]":
        most = _MOST_SIMPLE if kind in _SIMPLE else _MOST_STRUCTURES
        if not isinstance(found, list) or len(found) > most:
            raise Unfit(f"{where} must be a list of at most {most}")
        return [_value("", kind, one, where) for one in found]
    check = _SIMPLE.get(kind)
    if check is None:
        return _structure(_described()["type", kind], found, where)
    return check(found, where)


def _integer(found: object, where: str) -> object:
    largest = LARGEST_PID if where.endswith(("pid", "pids")) else LARGEST
    if type(found) is not int or not 0 <= found <= largest:
        raise Unfit(f"{where} must be a number from 0 to {largest}")
    return found


def _real(found: Any, where: str) -> object:
    # JSON can have 1e999, which is infinite, and integers that no float can hold.
    if type(found) not in (int, float) or not abs(found) <= LARGEST:
        raise Unfit(f"{where} must be a number up to {LARGEST}")
    # A clock that was set back makes a negative span.
    return max(0.0, found)


def _text(found: object, where: str) -> object:
    if not isinstance(found, str) or len(found) > _LONGEST_TEXT:
        raise Unfit(f"{where} must be a text of at most {_LONGEST_TEXT} characters")
    return found


def _flag(found: object, where: str) -> object:
    if not isinstance(found, bool):
        raise Unfit(f"{where} must be true or false")
    return found


_SIMPLE: Mapping[str, Callable[[object, str], object]] = {
    "int": _integer,
    "float": _real,
    "string": _text,
    "bool": _flag,
}
