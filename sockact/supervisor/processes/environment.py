"""The program's environment: that of the supervisor, without the variables meant for sockact."""

from __future__ import annotations

import os

import sockact
from sockact.core import own_connects
from sockact.core.release import pinned
from sockact.core.settings import Adopt
from sockact.kernel.looks import apart_for
from sockact.supervisor.processes.processes import GENERATION_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener

RELEASE_VARIABLE = "SOCKACT_RELEASE"
SHIM_DIRECTORY = os.path.join(os.path.dirname(sockact.__file__), "shim")

# Meant for the supervisor alone. systemd sets FDSTORE from 254 on, LISTEN_PIDFDID from 258 on.
_SUPERVISOR_ONLY = (
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
    supervisor: str,
) -> dict[str, str]:
    """Return the environment of a generation, with the shim of docs/shim.md.

    `supervisor` is whom the shim expects at the address, and where it finds it first: `UID:PATH`.
    """
    found = _without_supervisors(environment)
    path = found.get("PYTHONPATH")
    found["PYTHONPATH"] = f"{SHIM_DIRECTORY}:{path}" if path else SHIM_DIRECTORY
    found["SOCKACT_NAME"] = name
    found["SOCKACT_SHIM"] = shim_address
    found["SOCKACT_SUPERVISOR"] = supervisor
    found[GENERATION_VARIABLE] = str(generation)
    return found


def deployed(settings: Settings) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """Return the command, the directory and the service's own variables for the current release."""
    own = dict(variable.split("=", 1) for variable in settings.environment)
    if not settings.release:
        return settings.command, settings.directory, own
    link, target = settings.release, _resolved(settings.release)
    own[RELEASE_VARIABLE] = target
    command = tuple(pinned(word, link, target) for word in settings.command)
    return command, pinned(settings.directory, link, target), own


@apart_for("release files")
def _resolved(path: str) -> str:
    return os.path.realpath(path)


def probe_environment(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the environment of a probe, which belongs to no generation."""
    return {**_without_supervisors(environment), "SOCKACT_NAME": name}


def _without_supervisors(environment: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if key not in _SUPERVISOR_ONLY}


def adoption_environment(
    adopt: Adopt, listeners: list[Listener], paths: tuple[str, ...]
) -> dict[str, str]:
    """Return the variables for this way of adopting; LISTEN_PID is added once the pid is known."""
    if adopt is Adopt.NATIVE:
        names = ":".join(listener.name for listener in listeners)
        return {"LISTEN_FDS": str(len(listeners)), "LISTEN_FDNAMES": names}
    looks = " ".join(own_connects.words(listener.address for listener in listeners))
    found = {"SOCKACT_LOOKS": looks} if looks else {}
    if adopt is Adopt.SHIM:
        found |= {"SOCKACT_ADOPT": "1"} | ({"SOCKACT_UNIX": ":".join(paths)} if paths else {})
    return found
