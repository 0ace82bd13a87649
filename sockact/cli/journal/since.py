"""Points in time in the past, as systemd.time(7) writes them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from sockact.core import numbers

_DAY = 86400
# As `systemctl` prints them: `Mon 2026-03-02 12:00:00 CET`.
_WEEKDAY = re.compile(r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s+", re.IGNORECASE)
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?")
_AGO = re.compile(r"\s+ago$")


def moment(text: str, now: float) -> float:
    """Seconds since 1970 of a text such as 10min, 2h ago, today, 12:30 or 2026-03-01 12:30.

    Without a time zone it is the local one. Raises ValueError.
    """
    words = text.strip()
    try:
        found = _moment(words, now)
    except (ValueError, OverflowError, OSError):
        found = -1.0
    if found < 0:
        raise ValueError(
            f"{text!r} is not a time: write it like 10min, today, 12:30 or '2026-03-01 12:30'"
        )
    return found


def _moment(text: str, now: float) -> float:
    if text == "now":
        return now
    if text in ("today", "yesterday"):
        return _midnight(now - (_DAY if text == "yesterday" else 0))
    if text.startswith("@"):
        return float(numbers.seconds(text[1:]))
    if text.startswith("-"):
        return max(0.0, now - numbers.seconds(text[1:]))
    text = _WEEKDAY.sub("", text, count=1)
    if text[:1].isdigit() and (":" in text or "-" in text):
        return _written_out(text, now)
    return max(0.0, now - numbers.seconds(_AGO.sub("", text)))


def _written_out(text: str, now: float) -> float:
    """A date, a time of today, or both."""
    zone = None
    for name in ("UTC", "Z", *time.tzname):
        if text.endswith(f" {name}"):
            text = text.removesuffix(f" {name}")
            zone = UTC if name in ("UTC", "Z") else None
            break
    if _CLOCK.fullmatch(text):
        today = datetime.fromtimestamp(now, zone).strftime("%Y-%m-%d")
        text = f"{today} {text.rjust(5, '0') if text.count(':') == 1 else text.rjust(8, '0')}"
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo or not zone else found.replace(tzinfo=zone)).timestamp()


def _midnight(at: float) -> float:
    day = time.localtime(at)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
