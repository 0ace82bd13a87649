"""Carrying a wrap out, and taking it back: docs/wrap.md has the order of the steps, and why.

Whatever fails, or interrupts it, everything is taken back. For the command line only.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass

from sockact.core.errors import OperatorError
from sockact.units import listening
from sockact.units.wrap import running_service
from sockact.units.wrap.places import DROP_IN, Place, clear, remove, write
from sockact.units.wrap.running_service import main_pid, of, runs_wrapped
from sockact.units.wrap.seam import Seam
from sockact.units.wrap.undoing import NotRestored, NotStarted, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from sockact.core.matching import Address
    from sockact.units.listening import Bound
    from sockact.units.manager import Manager
    from sockact.units.wrap.outage import Outage

_STAND_IN = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n"
_MEANWHILE = "[Socket]\nReusePort=yes\nService={}\n"


@dataclass(frozen=True)
class Texts:
    """What is written."""

    socket: str
    """Of the .socket unit; empty: the service has one."""
    entering: str
    """The drop-in while what is stopped still is the old one."""
    final: str
    """The drop-in."""


@dataclass(frozen=True)
class Done:
    """How it went. Times are in seconds."""

    refused: float | None = 0.0
    """As long as nobody listened; None: it could not be measured."""
    waited: float = 0.0
    """As long as nobody accepted, at the most."""
    cut_off: bool = False
    """Somebody may still have waited in the queue of the old socket when it closed."""
    put_off: bool = False
    """Who came while nobody accepted was not heard, and tried again."""


def install(manager: Manager, place: Place, texts: Texts) -> None:
    """Only write the files, for a service that is to be started later. Raises OperatorError."""

    def steps(undo: ExitStack) -> None:
        undo.callback(_forget, manager, place, bool(texts.socket))
        _write_all(manager, place, texts.socket, texts.final)

    carry_out(steps)


def wrap(
    manager: Manager,
    place: Place,
    texts: Texts,
    outage: Outage,
    found: Sequence[Bound],
) -> Done:
    """Write the files, and let the wrapped program take over. `found` are the old sockets of all
    addresses that are watched, if they may be shared. Raises OperatorError, and all is as before;
    the outage says what clients met.
    """
    with outage, contextlib.ExitStack() as after:
        waited, emptied = carry_out(
            lambda undo: _take_over(undo, after, manager, place, texts, outage, found)
        )
    if found:
        _tidy(manager, place, outage.addresses)
    return Done(outage.seconds, waited, cut_off=not emptied)


def _take_over(
    undo: ExitStack,
    after: ExitStack,
    manager: Manager,
    place: Place,
    texts: Texts,
    outage: Outage,
    found: Sequence[Bound],
) -> tuple[float, bool]:
    """For how long nobody accepted, and whether all had been accepted before."""
    undo.callback(clear, place)
    before = tuple(one.address for one in found)
    old = main_pid(manager, place)
    undo.callback(_restart_old, manager, place, old, before)
    seam = _open(found)
    if seam:
        after.callback(seam.close)
        undo.callback(seam.close)
        undo.callback(seam.unshare)
    undo.callback(_forget, manager, place, bool(texts.socket))
    if texts.socket:
        undo.callback(_lead_back, manager, place, seam, old, outage, {one.inode for one in found})
    beside = seam is not None and _listen_beside(manager, place, texts.socket, seam)
    _write_all(manager, place, texts.socket, texts.entering)
    began = time.monotonic()
    emptied = True
    if seam and beside:
        stop(manager, stand_in(place))
        emptied = _move(seam, place)
    elif seam:
        seam.close()
    restart(manager, place)
    if not runs_wrapped(manager, place):
        raise OperatorError(
            f"{place.service} runs without sockact: `{manager.name} cat {place.service}` shows "
            f"what overrides {place.drop_in_path}"
        )
    waited = time.monotonic() - began
    write(place.drop_in_path, texts.final)
    manager.call("daemon-reload")
    return waited, emptied


def _lead_back(
    manager: Manager, place: Place, seam: Seam | None, old: str, outage: Outage, own: set[int]
) -> None:
    """Before systemd's sockets close: whoever comes now goes to the program that never stopped, and
    who waits there already is counted. No other socket can take them.
    """
    with contextlib.suppress(OSError, OperatorError):
        untouched = main_pid(manager, place) == old
        if untouched and not seam:
            return  # What waits is the program's own to accept.
        if seam and untouched:
            seam.to_old()
        outage.cut_off = sum(listening.waiting(one, own) for one in outage.addresses)


def _move(seam: Seam, place: Place) -> bool:
    try:
        return seam.to_new()
    except OSError as error:
        raise OperatorError(
            f"new connections cannot be led to {place.socket}: {error.strerror or error}; add "
            f"--no-restart, and restart {place.service} at a quiet time"
        ) from error


def restart(manager: Manager, place: Place) -> None:
    """Raises NotStarted."""
    began = time.time()
    try:
        manager.call("restart", place.service)
    except OperatorError as error:
        lines = running_service.last_lines(manager, place, began)
        raise NotStarted(f"{place.service} did not start", lines) from error


def _open(found: Sequence[Bound]) -> Seam | None:
    try:
        return Seam(found) if found else None
    except OSError:
        return None  # Then clients are refused for a moment.


def _listen_beside(manager: Manager, place: Place, text: str, seam: Seam) -> bool:
    """Start the .socket unit while the old program still listens; False when that is refused.

    systemd starts none whose service is active, so another service stands in for a moment.
    """
    meanwhile, own = _passing(place)
    try:
        write(own, _STAND_IN)
        write(meanwhile, _MEANWHILE.format(stand_in(place)))
        write(place.socket_path, text)
        manager.call("daemon-reload")
        seam.share()
        manager.call("start", place.socket)
        seam.to_old()
    except (OSError, OperatorError):
        stop(manager, place.socket)
        seam.unshare()
        return False
    finally:
        remove_passing(place)
    return True


def _passing(place: Place) -> tuple[str, str]:
    meanwhile = os.path.join(place.passing, f"{place.socket}.d", DROP_IN)
    return meanwhile, os.path.join(place.passing, stand_in(place))


def remove_passing(place: Place) -> None:
    """Remove what is only there for a moment. Raises OperatorError."""
    for path in _passing(place):
        remove(path)


def stand_in(place: Place) -> str:
    """The service that has NAME.socket for a moment."""
    return f"sockact-wrap-{place.name.replace('@', '-')}.service"


def _write_all(manager: Manager, place: Place, socket: str, drop_in: str) -> None:
    if socket:
        write(place.socket_path, socket)
    write(place.drop_in_path, drop_in)
    manager.call("daemon-reload")


def _forget(manager: Manager, place: Place, socket: bool) -> None:
    remove(place.drop_in_path)
    if socket:
        remove(place.socket_path)
    with contextlib.suppress(OperatorError):
        manager.call("daemon-reload")
    if socket:
        # The service no longer requires it.
        stop(manager, place.socket)
        stop(manager, stand_in(place))


def stop(manager: Manager, unit: str) -> None:
    """Stop a unit that is perhaps not even loaded."""
    with contextlib.suppress(OperatorError):
        manager.call("stop", unit)


def _restart_old(manager: Manager, place: Place, old: str, addresses: Sequence[Address]) -> None:
    """Let the service run again as it did, unless it never stopped."""
    if main_pid(manager, place) == old != "0":
        return
    start_again(manager, place, addresses)


def start_again(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """Start a service that has just failed, and see it listen. Raises NotRestored."""
    began = time.time()
    with contextlib.suppress(OperatorError):
        manager.call("reset-failed", place.service)
    try:
        # Not `restart`: it may be waiting for one.
        manager.call("stop", place.service)
        manager.call("start", place.service)
        running_service.wait_bound(manager, place, addresses)
        running_service.stay_up(manager, place, addresses)
    except OperatorError as error:
        raise NotRestored(
            f"{place.service} is DOWN: it does not start as it was, either; mend the program, then "
            f"`{manager.name} start {place.name}`",
            running_service.last_lines(manager, place, began),
        ) from error


def _tidy(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """What let systemd bind beside the old program has no place on the listener."""
    with contextlib.suppress(OSError, OperatorError), of(manager, place, addresses) as own:
        own.keep_others_out()
