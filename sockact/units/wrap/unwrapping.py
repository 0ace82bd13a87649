"""Taking a wrap back: docs/wrap.md. For the command line only."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from sockact.core.errors import OperatorError
from sockact.units import unitfile
from sockact.units.wrap import marks
from sockact.units.wrap.migration import Done, remove_passing, restart, stand_in, start_again, stop
from sockact.units.wrap.places import (
    UNFINISHED,
    Place,
    check_writable,
    clear,
    is_unfinished,
    ours,
    remove,
    write,
)
from sockact.units.wrap.running_service import (
    last_lines,
    main_pid,
    of,
    runs_wrapped,
    stay_up,
    wait_bound,
)
from sockact.units.wrap.undoing import NotRestored, NotStarted, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from sockact.core.matching import Address
    from sockact.units.manager import Manager
    from sockact.units.wrap.outage import Outage

# How the service ends; the rest of the drop-in is about how it starts.
_ENDING = ("ExecStop", "KillMode", "KillSignal", "SendSIGHUP", "TimeoutStopSec")


def farewell(drop_in: str, socket: str) -> str:
    """The drop-in for the restart: sockact ends as it does, and the program starts by itself, after
    the .socket unit has stopped ("": that one stays).
    """
    order = [f"Conflicts={socket}", f"After={socket}"] if socket else []
    unit = ["[Unit]", UNFINISHED, *order, ""]
    lines = [line for line in drop_in.split("\n") if line.partition("=")[0] in _ENDING]
    if not drop_in:
        lines = ["KillMode=mixed"]
    # The drain asks for more time, and whoever speaks for the program says when it is ready.
    lines.insert(0, "NotifyAccess=all")
    return marks.marked("\n".join([*unit, "[Service]", *lines, ""]))


def unwrap(
    manager: Manager,
    place: Place,
    drop_in: str,
    socket: str,
    outage: Outage,
    *,
    force: bool = False,
) -> Done:
    """Let the program run by itself again, and remove our files, whose texts are given; `outage`
    watches the addresses of our .socket unit, none if it is another's. With `force` it need not
    start anew first. Raises OperatorError, and it is wrapped as before.
    """
    done = Done()
    addresses = outage.addresses
    wrapped = runs_wrapped(manager, place)
    if wrapped:
        # After `systemctl revert`, or half of an unwrap, a reload is not what it was.
        if drop_in and not is_unfinished(unitfile.parse(drop_in)) and not force:
            check_writable(place.drop_in_path)
            _prove(manager, place)
        with outage:
            done = carry_out(lambda undo: _let_go(undo, manager, place, drop_in, socket, addresses))
        done = replace(done, refused=outage.seconds)
    elif socket and main_pid(manager, place) == "0":
        stop(manager, place.socket)
    try:
        for path in (place.drop_in_path, place.socket_path):
            if ours(path):
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
    write(place.drop_in_path, farewell(drop_in, place.socket if addresses else ""))
    manager.call("daemon-reload")
    began = time.monotonic()
    put_off, emptied = False, not addresses
    if addresses:
        # Who comes from now on tries again a second later; who waits is still served.
        with contextlib.suppress(OSError), of(manager, place, addresses) as seam:
            emptied = seam.admit_no_more()
            put_off = True
    since = time.time()
    restart(manager, place)
    try:
        wait_bound(manager, place, addresses)
        waited = time.monotonic() - began
        stay_up(manager, place, addresses)
    except OperatorError as error:
        raise NotStarted(f"by itself {error}", last_lines(manager, place, since)) from error
    return Done(0.0, waited, cut_off=not emptied, put_off=put_off)


def _prove(manager: Manager, place: Place) -> None:
    """Let sockact start the program anew, while the one that runs still serves. What does not start
    then does not start by itself either. Raises NotStarted.
    """
    since = time.time()
    try:
        manager.call("reload", place.service)
    except OperatorError as error:
        raise NotStarted(
            f"the program of {place.service} does not start anew (a reload failed), so it would be "
            f"down: mend the program, or add --force",
            last_lines(manager, place, since),
        ) from error


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
    start_again(manager, place, addresses)
