"""Taking a wrap back: docs/wrap.md. For the command line only."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from sockact.core import matching
from sockact.core.errors import OperatorError
from sockact.systemd import marks
from sockact.systemd.listening import held
from sockact.systemd.migrate import (
    Done,
    main_pid,
    of,
    remove_passing,
    restart,
    runs_wrapped,
    sockets,
    stand_in,
    start_again,
    stop,
)
from sockact.systemd.outage import Outage
from sockact.systemd.places import UNFINISHED, Place, clear, ours, remove, write
from sockact.systemd.undoing import NotRestored, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from sockact.core.matching import Address
    from sockact.systemd.manager import Manager

# How the service ends; the rest of the drop-in is about how it starts.
_ENDING = ("ExecStop", "KillMode", "KillSignal", "SendSIGHUP", "TimeoutStopSec")
_STEP = 0.02
_BIND_SECONDS = 60.0


def farewell(drop_in: str, socket: str) -> str:
    """The drop-in for the restart: sockact ends as it does, and the program starts by itself, after
    the .socket unit has stopped ("": that one stays).
    """
    order = [f"Conflicts={socket}", f"After={socket}"] if socket else []
    unit = ["[Unit]", UNFINISHED, *order, ""]
    lines = [line for line in drop_in.split("\n") if line.partition("=")[0] in _ENDING]
    # The drain asks for more time, and whoever speaks for the program says when it is ready.
    lines.insert(0, "NotifyAccess=all")
    return marks.marked("\n".join([*unit, "[Service]", *lines, ""]))


def unwrap(
    manager: Manager, place: Place, drop_in: str, socket: str, addresses: Sequence[Address]
) -> Done:
    """Let the program run by itself again, and remove our files, whose texts are given; `addresses`
    are those of our .socket unit, if there is one. Raises OperatorError, and it is wrapped as
    before.
    """
    done = Done()
    wrapped = runs_wrapped(manager, place)
    if wrapped:
        with Outage(addresses) as outage:
            done = carry_out(lambda undo: _let_go(undo, manager, place, drop_in, socket, addresses))
        done = replace(done, refused=outage.seconds)
    elif socket and main_pid(manager, place) == "0":
        stop(manager, place.socket)
    try:
        for path, text in ((place.drop_in_path, drop_in), (place.socket_path, socket)):
            if text:
                remove(path)
        manager.call("daemon-reload")
    except OperatorError as error:
        if not wrapped:
            raise
        raise NotRestored(f"{place.service} runs by itself again, but {error}") from error
    if not wrapped:
        _clean_up(manager, place, addresses)
    clear(place)
    return done


def _let_go(
    undo: ExitStack,
    manager: Manager,
    place: Place,
    drop_in: str,
    socket: str,
    addresses: Sequence[Address],
) -> Done:
    """What clients met, all but for how long nobody listened."""
    old = main_pid(manager, place)
    undo.callback(_put_back, manager, place, drop_in, socket, old, addresses)
    write(place.drop_in_path, farewell(drop_in, place.socket if socket else ""))
    manager.call("daemon-reload")
    began = time.monotonic()
    put_off, emptied = False, not socket
    if socket:
        # Who comes from now on tries again a second later; who waits is still served.
        with contextlib.suppress(OSError), of(manager, place, addresses) as seam:
            emptied = seam.admit_no_more()
            put_off = True
    restart(manager, place)
    _wait_bound(manager, place, addresses)
    return Done(0.0, time.monotonic() - began, cut_off=not emptied, put_off=put_off)


def _clean_up(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """What a wrap that was killed has left beside a program that still runs by itself."""
    remove_passing(place)
    running = manager.call("show", "--value", "--property=ActiveState", place.socket).strip()
    if addresses and running == "active":
        # The service no longer requires it.
        stop(manager, place.socket)
        stop(manager, stand_in(place))
        with contextlib.suppress(OSError), of(manager, place, addresses) as seam:
            seam.admit_again()
            seam.let_go()


def _wait_bound(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """Return when the program listens everywhere. Raises OperatorError."""
    deadline = time.monotonic() + _BIND_SECONDS
    while missing := _missing(manager, place, addresses):
        state = manager.call("show", "--value", "--property=ActiveState", place.service).strip()
        if state in ("failed", "inactive") or time.monotonic() > deadline:
            names = ", ".join(map(str, missing))
            raise OperatorError(f"{place.service} by itself is {state}, and nobody has {names}")
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


def _put_back(
    manager: Manager,
    place: Place,
    drop_in: str,
    socket: str,
    old: str,
    addresses: Sequence[Address],
) -> None:
    texts = {place.drop_in_path: drop_in, **({place.socket_path: socket} if socket else {})}
    changed = {path: text for path, text in texts.items() if ours(path) != text}
    if not changed:
        return  # It has not begun.
    for path, text in changed.items():
        if text:
            write(path, text)
        else:
            remove(path)
    manager.call("daemon-reload")
    if main_pid(manager, place) == old:
        with contextlib.suppress(OSError), of(manager, place, addresses) as seam:
            seam.admit_again()
        return
    start_again(manager, place)
