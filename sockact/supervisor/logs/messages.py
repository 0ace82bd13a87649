"""The messages between supervisor and log pump, and what each must contain.

The other end may be of another version (docs/upgrade.md), or not what it seems. So what is not
understood is left out: unknown messages, fields without a meaning here, values that do not fit.
"""

from __future__ import annotations

from sockact.core import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]

_LARGEST = 1 << 63
_KINDS: dict[str, dict[str, type]] = {
    # From the log pump.
    "state": {
        "state": int,
        "dropped_lines": int,
        "dropped_bytes": int,
        "waiting_bytes": int,
        "error": str,
    },
    "key": {"key": int, "tail": str, "ended": bool},
    "counted": {"counted": int, "lines": int},
    "missing": {"missing": int},
    "reopened": {"reopened": int, "error": str},
    # From the supervisor.
    "add": {"add": int, "log": int},
    "reopen": {"reopen": int},
    "tail": {"tail": int},
    "count": {"count": int},
    "end": {"end": bool},
}


def read(data: bytes) -> Message | None:
    """Return the message in a packet, with the fields of its kind; None if it is none."""
    try:
        found = json_text.decode(data.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    for kind, fields in _KINDS.items():
        if kind in found:
            if all(_fits(found.get(name), wanted) for name, wanted in fields.items()):
                return {name: found[name] for name in fields}
            return None
    return None


def _fits(value: object, wanted: type) -> bool:
    if wanted is int:
        return type(value) is int and 0 <= value < _LARGEST
    return type(value) is wanted
