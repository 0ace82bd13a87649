"""JSON text as the module json reads and writes it, with only its parts in C.

The module loads `re`, which takes longer than a whole call. It is loaded for what is no JSON, or
has blanks around it, and says what is wrong.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def decode(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, also for NaN and Infinity; RecursionError."""
    try:
        value, end = _scan(text, 0)
    except Exception:  # Without the module it has no error to raise, up to Python 3.13.
        end = -1
    if end == len(text):
        return value
    import json

    return json.loads(text, parse_constant=_refuse)


def encode(value: object) -> str:
    """JSON text without blanks, ASCII only, so that lone surrogates of file names survive."""
    return "".join(_parts(value, 0))


def indented(value: object, margin: str = "\n") -> str:
    """JSON text for people, with two blanks for each level."""
    inner = f"{margin}  "
    if isinstance(value, dict) and value:
        members = [f"{encode(name)}: {indented(one, inner)}" for name, one in value.items()]
        return f"{{{inner}{f',{inner}'.join(members)}{margin}}}"
    if isinstance(value, list) and value:
        return f"[{inner}{f',{inner}'.join(indented(one, inner) for one in value)}{margin}]"
    return encode(value)


def _refuse(constant: str) -> NoReturn:
    """NaN and Infinity, which Python would accept, are not JSON."""
    raise ValueError(constant)


class _Reading:
    """How texts are read, for the scanner: strictly, and without hooks."""

    strict = True
    parse_float = float
    parse_int = int
    parse_constant = _refuse
    object_hook = object_pairs_hook = array_hook = None


def _unfit(value: object) -> NoReturn:
    raise TypeError(f"a {type(value).__name__} is not JSON")


_scan = make_scanner(_Reading)  # type: ignore[arg-type]
_parts = make_encoder(
    None, _unfit, encode_basestring_ascii, None, ":", ",", False, False, allow_nan=False
)
