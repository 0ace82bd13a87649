"""Taking a wrap back: docs/wrap.md. For the command line only."""

from __future__ import annotations

import contextlib
import time

from sockact.core.errors import OperatorError
from sockact.systemd import marks
from sockact.systemd.listening import held
from sockact.systemd.migrate import (
    Done,
    Place,
    clear,
    main_pid,
    of,
    remove,
    restart,
    start_again,
    write,
)
from sockact.systemd.outage import Outage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.matching import Address
    from sockact.systemd.manager import Manager

# How the service ends; the rest of the drop-in is about how it starts.
_ENDING = ("ExecStop", "KillMode", "KillSignal", "SendSIGHUP", "TimeoutStopSec")
_STEP = 0.02
_BIND_SECONDS = 60.0


def ours(path: str) -> str:
    """The text of a file that `sockact wrap` has written; empty when there is none, or another's.

    Raises OperatorError when it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; use sudo") from error
    return text if marks.is_ours(text) else ""


def farewell(drop_in: str, socket: str) -> str:
    """The drop-in for the restart: sockact ends as it does, and the program starts by itself, after
    the .socket unit has stopped ("": that one stays).
    """
    unit = ["[Unit]", f"Conflicts={socket}", f"After={socket}", ""] if socket else []
    lines = [line for line in drop_in.split("\n") if line.partition("=")[0] in _ENDING]
    # The drain asks for more time, and whoever speaks for the program says when it is ready.
    lines.insert(0, "NotifyAccess=all")
    return marks.marked("\n".join([*unit, "[Service]", *lines, ""]))


def unwrap(
    manager: Manager,
    place: Place,
    drop_in: str,
    socket: str,
    addresses: Sequence[Address],
    *,
    took_effect: bool,
) -> Done:
    """Let the program run by itself again, and remove our files, whose texts are given; `addresses`
    are those of our .socket unit, if there is one. Raises OperatorError, and it is wrapped as
    before.
    """
    refused = waited = 0.0
    if took_effect and main_pid(manager, place) != "0":
        with contextlib.ExitStack() as undo, Outage(addresses) as outage:
            old = main_pid(manager, place)
            undo.callback(_put_back, manager, place, drop_in, socket, old, addresses)
            write(place.drop_in_path, farewell(drop_in, place.socket if socket else ""))
            manager.call("daemon-reload")
            began = time.monotonic()
            if socket:
                # Who comes from now on tries again a second later; who waits is still served.
                with contextlib.suppress(OSError), of(manager, place, addresses) as seam:
                    seam.admit_no_more()
            restart(manager, place)
            _wait_bound(manager, place, addresses)
            waited = time.monotonic() - began
            undo.pop_all()
        refused = outage.seconds
    elif took_effect and socket:
        manager.call("stop", place.socket)
    remove(place.drop_in_path)
    if socket:
        remove(place.socket_path)
    manager.call("daemon-reload")
    clear(place)
    return Done(refused, waited)


def _wait_bound(manager: Manager, place: Place, addresses: Sequence[Address]) -> None:
    """Return when the program listens everywhere. Raises OperatorError."""
    deadline = time.monotonic() + _BIND_SECONDS
    while not all(map(held, addresses)):
        state = manager.call("show", "--value", "--property=ActiveState", place.service).strip()
        if state in ("failed", "inactive") or time.monotonic() > deadline:
            missing = ", ".join(str(address) for address in addresses if not held(address))
            raise OperatorError(f"{place.service} by itself is {state}, and nobody has {missing}")
        time.sleep(_STEP)


def _put_back(
    manager: Manager,
    place: Place,
    drop_in: str,
    socket: str,
    old: str,
    addresses: Sequence[Address],
) -> None:
    write(place.drop_in_path, drop_in)
    if socket:
        write(place.socket_path, socket)
    manager.call("daemon-reload")
    if main_pid(manager, place) == old:
        with contextlib.suppress(OSError), of(manager, place, addresses) as seam:
            seam.admit_again()
        return
    start_again(manager, place)
