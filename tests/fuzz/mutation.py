"""Garbled bytes and values. The same `random.Random` always makes the same ones."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

LIKELY = 6
DEEP = 3
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**63), 10**400, 1.5, -1e308, 5e-324, 1e12),
    *("", "x", "\0", "\ud800", 'a"b\\c\nd', "\x1b[2J", "9" * 5000, "a" * 5000, "running", "0"),
    *([], [[]], {}, {"": {}}, [1, 2, 3]),
)
NUMBERS = (b"9" * 5000, b"-1", b"1e999", b"0x", b"99999999999999999999", b"NaN", b"1.5", b"-0")
BRACKETS = (b"[" * 2000, b"{" * 300, b"]", b"}", b'{"a":', b"[[],", b'"', b"\\", b":", b",")
ODD = (b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b" ", b"=")
TOKENS = (*NUMBERS, *BRACKETS, *ODD)


def garbled(
    chance: random.Random, data: bytes, tokens: Sequence[bytes] = TOKENS, most: int = 60_000
) -> bytes:
    """The data with some bytes changed, added, removed and repeated."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, LIKELY)):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0 if found:
                found[at % len(found)] = chance.randrange(256)
            case 1:
                found[at:at] = chance.choice(tokens)
            case 2:
                del found[at : at + chance.randrange(1, 30)]
            case 3:
                found[at:at] = found[chance.randrange(len(found) + 1) :][:200]
            case 4:
                found[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 5 if not chance.randrange(LIKELY):
                del found[at:]
    return bytes(found[:most])


def junk(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    kind = chance.randrange(LIKELY)
    if kind == 0 and depth < DEEP:
        return [junk(chance, depth + 1) for _ in range(chance.randrange(5))]
    if kind == 1 and depth < DEEP:
        return {str(chance.choice(VALUES)): junk(chance, depth + 1) for _ in range(3)}
    if kind == 2:
        return "".join(chr(chance.randrange(0x110000)) for _ in range(chance.randrange(8)))
    if kind == 3:
        return chance.randrange(-(2**70), 2**70)
    return copy.deepcopy(chance.choice(VALUES))


def changed(chance: random.Random, value: Any, most: int = 3) -> Any:
    """A copy of a JSON value with up to `most` members replaced, removed, added or repeated."""
    found = json.loads(json.dumps(value))  # Much faster than copy.deepcopy().
    for _ in range(chance.randrange(1, most + 1)):
        inner, key = _place(chance, found)
        kind = chance.randrange(5)
        if inner is None:
            continue
        if kind == 0 and isinstance(inner, dict):
            del inner[key]
        elif kind == 1 and isinstance(inner, dict):
            inner[str(chance.choice(VALUES))] = junk(chance)
        elif kind == 2 and isinstance(inner, list):
            inner += inner[:1] * chance.randrange(1, 50)
        else:
            inner[key] = junk(chance)
    return found


def text(chance: random.Random, value: Any) -> bytes:
    """The value as JSON, which one time in four is garbled, too."""
    if not chance.randrange(500):
        return chance.choice(BRACKETS) * chance.randrange(1, 500)
    data = json.dumps(value).encode()
    return data if chance.randrange(4) else garbled(chance, data)


def _place(chance: random.Random, value: Any) -> tuple[Any, Any]:
    """A list or an object in the value, and the key of a member; None, None if there is none."""
    inner, key = None, None
    while isinstance(value, dict | list) and value and (inner is None or chance.randrange(5)):
        inner = value
        key = chance.choice([*value]) if isinstance(value, dict) else chance.randrange(len(value))
        value = value[key]
    return inner, key
