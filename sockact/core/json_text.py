"""JSON text as the module json reads and writes it, with only its parts in C.

The module loads `re`, which takes longer than a whole call of a supervisor, and more memory than
most of its parts.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_BLANKS = " \t\n\r"


def decode(text: str) -> Any:
    """The value of a JSON text. Raises ValueError, also for NaN and Infinity; RecursionError."""
    text = text.strip(_BLANKS)
    try:
        value, end = _scan(text, 0)
    except RecursionError:
        raise
    except Exception:  # The scanner leaves the right one to the module.
        end = -1
    if end != len(text):
        raise ValueError("not valid JSON")
    return value


def encode(value: object) -> str:
    """JSON text in a line, ASCII only, so that lone surrogates of file names survive."""
    return "".join(_spaced(value, 0))


def compact(value: object) -> str:
    """As `encode`, without blanks."""
    return "".join(_compact(value, 0))


def indented(value: object, margin: str = "\n") -> str:
    """JSON text in lines, with two blanks for each level."""
    inner = f"{margin}  "
    if isinstance(value, dict) and value:
        members = [f"{encode(name)}: {indented(one, inner)}" for name, one in value.items()]
        return f"{{{inner}{f',{inner}'.join(members)}{margin}}}"
    if isinstance(value, list | tuple) and value:
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


def _encoder(colon: str, comma: str) -> make_encoder:
    quoted = encode_basestring_ascii
    return make_encoder(None, _unfit, quoted, None, colon, comma, False, False, allow_nan=False)


_scan = make_scanner(_Reading)  # type: ignore[arg-type]
_spaced, _compact = _encoder(": ", ", "), _encoder(":", ",")
