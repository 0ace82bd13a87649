"""What systemd counts beside us, for a service that runs in a unit of its."""

from __future__ import annotations

from typing import Any

from sockact.core.errors import OperatorError
from sockact.core.timespan import seconds
from sockact.units.manager import Manager

_SECONDS = 3.0
_PROPERTIES = ("MainPID", "NRestarts", "StartLimitBurst", "StartLimitIntervalUSec")


def starts(status: dict[str, Any], now: float) -> dict[str, Any] | None:
    """The unit, its restarts, and how many starts are left before systemd gives up.

    None when this service is no unit's main process, or systemd does not tell.
    """
    unit, user = _unit(status["pid"])
    found = _show(unit, user) if unit else None
    if found is None or found.get("MainPID") != str(status["pid"]):
        return None
    burst = int(found.get("StartLimitBurst") or 0)
    interval = _seconds(found.get("StartLimitIntervalUSec", ""))
    began = [at / 1_000_000 for at in status.get("starts", {}).get("supervisor_starts_usec", ())]
    used = sum(at > now - interval for at in began)
    limited = burst and interval
    return {
        "unit": unit,
        "restarts": int(found.get("NRestarts") or 0),
        "start_limit_burst": burst,
        "start_limit_interval_seconds": interval,
        "starts_left": max(0, burst - used) if limited else None,
    }


def describe(found: dict[str, Any]) -> str:
    """In a line."""
    times = "once" if found["restarts"] == 1 else f"{found['restarts']} times"
    text = f"  {found['unit']}: restarted {times} by systemd"
    if (left := found["starts_left"]) is not None:
        text += (
            f"; {left} of {found['start_limit_burst']} starts are left in "
            f"{found['start_limit_interval_seconds']:g} s before it gives up, the .socket unit too"
        )
    return text


def _unit(pid: int) -> tuple[str, bool]:
    """The service unit of a process, and whether it is a user's (cgroups(7))."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            paths = [line.rstrip("\n").split(":", 2)[2] for line in file]
    except OSError:
        return "", False
    for path in paths:
        *above, last = path.split("/")
        if last.endswith(".service"):
            return last, any(part.startswith("user@") for part in above)
    return "", False


def _show(unit: str, user: bool) -> dict[str, str] | None:
    properties = [f"--property={name}" for name in _PROPERTIES]
    try:
        text = Manager(user, _SECONDS).call("show", unit, *properties)
    except OperatorError:
        return None  # No systemd, or one that does not tell: nothing is missed.
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def _seconds(text: str) -> float:
    """A time span as `systemctl show` writes it, such as `10s` or `1min 30s`; 0 for others."""
    try:
        return seconds(text)
    except ValueError:
        return 0.0
