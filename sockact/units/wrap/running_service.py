"""A service as it runs: its main process, its sockets, and whether it stays up.

For the command line only. Raises OperatorError where systemd cannot be asked.
"""

from __future__ import annotations

import contextlib
import os
import time

from sockact.core import matching
from sockact.core.errors import OperatorError
from sockact.handover import interest
from sockact.kernel import procfs
from sockact.units import listening, unitfile
from sockact.units.listening import held
from sockact.units.wrap.seam import Seam

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.matching import Address
    from sockact.units.listening import Bound
    from sockact.units.manager import Manager
    from sockact.units.wrap.places import Place

_LINES = 12
_LOOKS = 10
_LAG = 0.2
_MAIN = b"/sockact/__main__.py"
# Seconds.
_STEP = 0.02
_BIND_SECONDS = 60.0
_SETTLED = 1.0
_UNSEEN = 5.0


def main_pid(manager: Manager, place: Place) -> str:
    """The service's main process; 0 when it does not run."""
    return manager.call("show", "--value", "--property=MainPID", place.service).strip()


def runs_wrapped(manager: Manager, place: Place) -> bool:
    """Is the main process sockact? Not if nobody has restarted the service since the wrap."""
    try:
        with open(f"/proc/{main_pid(manager, place)}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    # The command, or its own file after it has started itself anew.
    ours = [os.path.basename(word) == b"sockact" or _MAIN in word for word in words]
    return any(found and word == b"run" for found, word in zip(ours, words[1:5], strict=False))


def of(manager: Manager, place: Place, addresses: Sequence[Address]) -> Seam:
    """The sockets that the service now has at these addresses. Raises OSError and OperatorError."""
    return Seam([one for one in sockets(manager, place) if one.address in addresses])


def sockets(manager: Manager, place: Place) -> list[Bound]:
    """What the processes of the service listen on. Raises OSError and OperatorError."""
    return listening.bound(_members(manager, place))


def handed(manager: Manager, place: Place) -> list[Address]:
    """The addresses that the supervisor holds; none if sockact does not run it. Raises
    OperatorError.
    """
    if not runs_wrapped(manager, place):
        return []
    with contextlib.suppress(OSError):
        own = listening.bound([int(main_pid(manager, place))])
        # Its control socket is its own.
        return [one.address for one in own if not one.address.host.startswith(f"{place.runtime}/")]
    return []


def _members(manager: Manager, place: Place) -> list[int]:
    cgroup = manager.call("show", "--value", "--property=ControlGroup", place.service).strip()
    return listening.members(cgroup) if cgroup else []


def wait_bound(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """Return when the program listens everywhere. Raises OperatorError."""
    deadline = time.monotonic() + _BIND_SECONDS
    while missing := _missing(manager, place, addresses):
        state = manager.call("show", "--value", "--property=ActiveState", place.service).strip()
        if state in ("failed", "inactive"):
            raise _ended(place)
        if time.monotonic() > deadline:
            names = ", ".join(map(str, missing))
            raise OperatorError(f"{place.service} is {state}, and nobody has {names}")
        time.sleep(_STEP)


def _missing(manager: Manager, place: Place, addresses: Sequence[Address]) -> list[Address]:
    """Where the program does not listen yet. It may bind another IP address than the .socket unit
    had: what counts is what sockact would adopt.
    """
    free = [address for address in addresses if not held(address)]
    if not free:
        return []
    try:
        own = [one.address for one in sockets(manager, place)]
    except OSError:
        return free
    known = tuple(addresses)
    answers = [matching.match(address, known) for address in own]
    taken = {known[one.index] for one in answers if isinstance(one, matching.Adopted)}
    return [address for address in free if address not in taken]


def stay_up(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """Return when the service still runs a second after it began to accept.

    gunicorn binds before its workers import the application, and ends when they cannot. Where it
    cannot be seen that it accepts, as long as most programs take for that has to do. Raises
    OperatorError when it ends.
    """
    restarts = _state(manager, place).get("NRestarts")
    began = time.monotonic()
    accepted = None
    while True:
        now = _state(manager, place)
        ended = now.get("ActiveState") not in ("active", "reloading", "activating")
        if ended or now.get("NRestarts") != restarts or "auto-restart" in now.get("SubState", ""):
            raise _ended(place)
        at = time.monotonic()
        if accepted is None and _accepts(manager, place, addresses):
            accepted = at
        if at >= (began + _UNSEEN if accepted is None else accepted + _SETTLED):
            return
        time.sleep(_STEP)


def _ended(place: Place) -> OperatorError:
    # The same before and after it was seen to listen: that is a matter of moments.
    return OperatorError(f"{place.service} ended soon after it was started")


def _state(manager: Manager, place: Place) -> dict[str, str]:
    names = "--property=ActiveState,SubState,NRestarts"
    return unitfile.properties(manager.call("show", names, place.service))


def _accepts(manager: Manager, place: Place, addresses: Sequence[Address]) -> bool:
    """Does a process of the service wait for clients on each of its sockets at these addresses?"""
    with contextlib.suppress(OSError, procfs.Unavailable):
        known = tuple(addresses)
        inodes = {
            one.inode
            for one in sockets(manager, place)
            if isinstance(matching.match(one.address, known), matching.Adopted)
        }
        found, _ = interest.interest(_members(manager, place), inodes)
        return bool(inodes) and found == inodes
    return False


def last_lines(manager: Manager, place: Place, since: float) -> tuple[str, ...]:
    """What the service said, as soon as the journal has all of it: it lags behind."""
    before = said = ""
    with contextlib.suppress(OperatorError):
        for _ in range(_LOOKS):
            said = manager.journal(place.service, since)
            if said and said == before:
                break
            before = said
            time.sleep(_LAG)
        return tuple(said.splitlines()[-_LINES:])
    return ()
