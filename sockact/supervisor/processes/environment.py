"""The environment of the wrapped program: the supervisor's own, without what was meant for us."""

from __future__ import annotations

import os

import sockact
from sockact.core.release import pinned
from sockact.core.settings import Adopt
from sockact.supervisor.processes.processes import GENERATION_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener

RELEASE_VARIABLE = "SOCKACT_RELEASE"
SHIM_FOLDER = os.path.join(os.path.dirname(sockact.__file__), "shim")

# Meant for the supervisor alone. FDSTORE is there from systemd 254 on, LISTEN_PIDFDID from 258 on.
_OURS = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "FDSTORE",
)


def program_environment(
    environment: Mapping[str, str],
    name: str,
    generation: int,
    shim_address: str,
) -> dict[str, str]:
    """The base for every generation, with the shim of docs/shim.md."""
    found = _without_ours(environment)
    path = found.get("PYTHONPATH")
    found["PYTHONPATH"] = f"{SHIM_FOLDER}:{path}" if path else SHIM_FOLDER
    found["SOCKACT_NAME"] = name
    found["SOCKACT_SHIM"] = shim_address
    found[GENERATION_VARIABLE] = str(generation)
    return found


def deployed(settings: Settings) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """The command, the directory, and the service's own variables, with the release of now."""
    own = dict(variable.split("=", 1) for variable in settings.environment)
    if not settings.release:
        return settings.command, settings.directory, own
    link, target = settings.release, os.path.realpath(settings.release)
    own[RELEASE_VARIABLE] = target
    command = tuple(pinned(word, link, target) for word in settings.command)
    return command, pinned(settings.directory, link, target), own


def probe_environment(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """For a probe, which belongs to no generation."""
    return {**_without_ours(environment), "SOCKACT_NAME": name}


def _without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key not in _OURS}


def adoption_environment(
    adopt: Adopt, listeners: list[Listener], paths: tuple[str, ...]
) -> dict[str, str]:
    """What the way of adopting adds. LISTEN_PID is added where the pid is known."""
    if adopt is Adopt.SHIM:
        return {"SOCKACT_ADOPT": "1"} | ({"SOCKACT_UNIX": ":".join(paths)} if paths else {})
    if adopt is Adopt.NATIVE:
        names = ":".join(listener.name for listener in listeners)
        return {"LISTEN_FDS": str(len(listeners)), "LISTEN_FDNAMES": names}
    return {}
