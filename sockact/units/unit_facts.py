"""What systemd counts for a service that runs in a unit of its own."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECONDS = 3.0
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.\\@-")
_LONGEST_NAME = 248
"""Characters before `.service`: systemd.unit(5)."""
_PROPERTIES = ("MainPID", "NRestarts", "StartLimitBurst", "StartLimitIntervalUSec")
_STATES = ("LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts")
_BOOTED = "/run/systemd/system"


def starts(status: dict[str, Any], now: float) -> dict[str, Any] | None:
    """The unit, its restarts, and how many starts are left before systemd gives up.

    None when this service is no unit's main process, or systemd does not tell.
    """
    unit, user = unit_of(status["pid"])
    found = _show(unit, user) if unit else None
    if found is None or found.get("MainPID") != str(status["pid"]):
        return None
    burst = int(found.get("StartLimitBurst") or 0)
    interval = _seconds(found.get("StartLimitIntervalUSec", ""))
    began = [at / 1_000_000 for at in status["starts"]["supervisor_starts_usec"]]
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
    text = f"{found['unit']}: systemd restarts: {found['restarts']}"
    if (left := found["starts_left"]) is not None:
        text += (
            f" (start limit: {found['start_limit_burst']} per "
            f"{found['start_limit_interval_seconds']:g} s, {left} left)"
        )
    return text


def absent(name: str) -> str:
    """What systemd knows of a service that does not run, and what to do; "" if it has no unit."""
    if not os.path.isdir(_BOOTED):
        return ""
    from sockact.units import unitfile
    from sockact.units.manager import Manager

    for user in (False, True)[: 1 if os.geteuid() == 0 else 2]:
        manager = Manager(user, _SECONDS)
        try:
            units = (f"{name}.service", f"{name}.socket")
            text = manager.call("show", f"--property={','.join(_STATES)}", "--", *units)
        except OperatorError:
            continue
        found = [unitfile.properties(part) for part in text.split("\n\n")]
        if len(found) == len(units) and found[0].get("LoadState") == "loaded":
            return explain(name, found[0], found[1], manager.name)
    return ""


def explain(
    name: str, service: dict[str, str], socket: dict[str, str], command: str = "systemctl"
) -> str:
    """The state of the units of a service that does not run, in a line. `command` is systemctl, as
    its manager has to be called.
    """
    unit, see = f"{name}.service", f"see `sockact logs {name}`"
    state = service.get("ActiveState")
    if (state, service.get("SubState")) == ("activating", "auto-restart"):
        times = service.get("NRestarts", "0")
        status = service.get("ExecMainStatus", "0")
        return f"{unit} keeps failing (restarts: {times}, last exit status: {status}); {see}"
    if state == "failed":
        result = service.get("Result", "unknown")
        return f"{unit} has failed (result: {result}); {see}, then `{command} start {name}`"
    if state in ("activating", "deactivating", "active"):
        doing = {"activating": "starting", "deactivating": "stopping"}.get(state, "running")
        return f"{unit} is {doing}, but its supervisor does not answer yet; {see}"
    if socket.get("ActiveState") == "active":
        return f"{name}.socket starts it for its first client, or `{command} start {name}` does"
    return f"{unit} is stopped; start it with `{command} start {name}`"


def unit_of(pid: int) -> tuple[str, bool]:
    """The service unit of a process, and whether it is a user's (cgroups(7))."""
    try:
        with open(f"/proc/{int(pid)}/cgroup", encoding="utf-8", errors="replace") as file:
            paths = [line.rstrip("\n").split(":", 2)[-1] for line in file]
    except OSError:
        return "", False
    return next((found for path in paths if (found := unit_in(path))[0]), ("", False))


def unit_in(group: str) -> tuple[str, bool]:
    """The unit of a control group.

    The first one on the way down, but for managers of users: a service may make groups of any name
    below its own.
    """
    user = False
    for name in group.split("/"):
        if name.startswith("user@") and name.endswith(".service"):
            user = True
        elif _is_service(name):
            return name, user
    return "", False


def _is_service(name: str) -> bool:
    base = name.removesuffix(".service")
    # What begins with a dash could be taken for an option.
    return 0 < len(base) <= _LONGEST_NAME and base[0] != "-" and base != name and _NAME >= {*base}


def _show(unit: str, user: bool) -> dict[str, str] | None:
    # Only for a service in a unit: this starts a process.
    from sockact.units import unitfile
    from sockact.units.manager import Manager

    properties = [f"--property={name}" for name in _PROPERTIES]
    try:
        text = Manager(user, _SECONDS).call("show", *properties, "--", unit)
    except OperatorError:
        return None  # No systemd, or one that does not tell: nothing is missed.
    return unitfile.properties(text)


def _seconds(text: str) -> float:
    """A time span as `systemctl show` writes it, such as `10s` or `1min 30s`; 0 for others."""
    from sockact.core.numbers import seconds

    try:
        return seconds(text)
    except ValueError:
        return 0.0
