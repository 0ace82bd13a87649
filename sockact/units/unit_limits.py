"""Limits of a service that two generations side by side have to share. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Unit

_USED = {
    "MemoryMax": "MemoryCurrent",
    "MemoryHigh": "MemoryCurrent",
    "TasksMax": "TasksCurrent",
    "LimitNPROC": "TasksCurrent",
}
KEYS = tuple(_USED)
"""The settings, which apply to the control group or, LimitNPROC=, to the user."""


def too_small(service: Unit) -> Iterator[tuple[str, str]]:
    """Each limit of its files that may not be enough for two generations, as written; and what the
    service uses now, empty if that is not known.
    """
    for key, current in _USED.items():
        value = (service.files.get("Service", {}).get(key) or [""])[-1]
        limit, used = _number(service.get(key)), _number(service.get(current))
        if not value or value == "infinity" or (limit and used and 2 * used <= limit):
            continue
        yield f"{key}={value}", f"{service.get(current)}" if used else ""


def _number(text: str) -> int:
    """0 for one that is unlimited or not known."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else 0
    return number if number < 1 << 62 else 0
