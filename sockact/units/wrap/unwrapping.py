"""The steps of an unwrap: docs/wrap.md has their order and the reasons."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass, replace

from sockact.core.errors import OperatorError
from sockact.units import unitfile
from sockact.units.wrap import marked_files
from sockact.units.wrap.marked_files import check_writable, remove, write
from sockact.units.wrap.outage import Outcome
from sockact.units.wrap.service_files import DROP_IN, UNFINISHED_LINE, is_unfinished
from sockact.units.wrap.transaction import NotRestored, NotStarted, OnlyOne, carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from sockact.core.matching import Address
    from sockact.units.facts import Unit
    from sockact.units.wrap.outage import Outage
    from sockact.units.wrap.service import Service

# How sockact stops; the rest of the drop-in is about its start.
_STOP_KEYS = ("ExecStop", "KillMode", "KillSignal", "SendSIGHUP", "TimeoutStopSec")
# Of TCP's timers and of our clock, in seconds.
_JITTER = 0.1
_NOTIFY_VARIABLES = "NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC"


@dataclass(frozen=True)
class Texts:
    """Our files as they are now."""

    drop_in: str
    """Empty if there is none."""
    socket: str
    """The .socket unit; empty if there is none of ours."""
    access: str = "none"
    """NotifyAccess= of the service without our drop-in."""


def own_access(unit: Unit) -> str:
    """NotifyAccess= of a service without our drop-in (systemd.service(5))."""
    own: dict[str, list[str]] = {}
    for path, part in unit.parts.items():
        if os.path.basename(path) != DROP_IN:
            own |= part.get("Service", {})
    found = (own.get("NotifyAccess") or ["none"])[-1]
    if found != "none":
        return found
    notifies = (own.get("Type") or [""])[-1].startswith("notify")
    others = [(own.get(key) or ["0"])[-1] for key in ("WatchdogSec", "FileDescriptorStoreMax")]
    return "main" if notifies or any(value != "0" for value in others) else "none"


def transition(drop_in: str, socket: str, access: str) -> str:
    """The drop-in for the restart: sockact stops as it has to, and the program starts on its own
    after the .socket unit has stopped. `socket` is empty if that one stays, `access` is the
    service's own NotifyAccess=.
    """
    order = [f"Conflicts={socket}", f"After={socket}"] if socket else []
    unit = ["[Unit]", UNFINISHED_LINE, *order, ""]
    lines = [line for line in drop_in.split("\n") if line.partition("=")[0] in _STOP_KEYS]
    if not drop_in:
        lines = ["KillMode=mixed"]
    if access == "none":
        # sockact asks for more time to drain. The program must not find what it never had: with
        # $NOTIFY_SOCKET it may open a socket that its own sandbox refuses.
        lines = ["NotifyAccess=main", f"UnsetEnvironment={_NOTIFY_VARIABLES}", *lines]
    return marked_files.marked("\n".join([*unit, "[Service]", *lines, ""]))


def unwrap(
    service: Service,
    texts: Texts,
    outage: Outage,
    *,
    force: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Restart the service without sockact, and remove our files.

    `outage` has the addresses of our .socket unit, none if the unit is another's. With `force`
    there is no test whether the program starts. `tell` gets remarks. Raises OperatorError, after
    which the service is wrapped as before.
    """
    files = service.files
    outcome = Outcome()
    wrapped = service.is_wrapped()
    if wrapped:
        # After `systemctl revert` or half an unwrap, a reload is not what it was.
        complete = texts.drop_in and not is_unfinished(unitfile.parse(texts.drop_in))
        if complete and not force:
            check_writable(files.drop_in_path)
            _test_start(service, tell)
        with outage:
            outcome = carry_out(lambda undo: _restart(undo, service, texts, outage))
        outcome = replace(outcome, refused=outage.seconds, unsure=outage.unsure)
    elif texts.socket and service.main_pid() == "0":
        service.stop_unit(files.socket)
    try:
        _remove_files(service)
    except OperatorError as error:
        if not wrapped:
            raise
        raise NotRestored(f"{files.service} is running without sockact, but {error}") from error
    if not wrapped:
        _clean_up(service, outage.addresses)
    files.remove_leftovers()
    return outcome


def restart_alone(service: Service, texts: Texts, outage: Outage) -> None:
    """Take a wrap back that is complete. Raises OperatorError."""
    carry_out(lambda undo: _restart(undo, service, texts, outage))
    _remove_files(service)
    service.files.remove_leftovers()


def _remove_files(service: Service) -> None:
    for path in (service.files.drop_in_path, service.files.socket_path):
        if marked_files.read(path):
            remove(path)
    service.manager.call("daemon-reload")


def _restart(undo: ExitStack, service: Service, texts: Texts, outage: Outage) -> Outcome:
    """Restart without sockact; the outcome lacks how long connections were refused."""
    files, addresses = service.files, outage.addresses
    undo.callback(_put_back, service, texts, service.main_pid(), addresses)
    socket = files.socket if addresses else ""
    write(files.drop_in_path, transition(texts.drop_in, socket, texts.access))
    service.manager.call("daemon-reload")
    began = time.monotonic()
    retried, emptied = False, not addresses
    if addresses:
        # New clients try again a second later; those in the queue are still served.
        with contextlib.suppress(OSError), service.sockets_at(addresses) as sockets:
            began = time.monotonic()
            emptied = sockets.admit_no_more()
            retried = True
    since = time.time()
    service.restart()
    try:
        service.wait_bound(addresses)
        bound = time.monotonic()
        accepted = service.wait_stable(addresses)
    except OperatorError as error:
        lines = service.last_lines(since)
        raise NotStarted(f"without sockact, {error}", lines) from error
    if retried:
        # Until systemd's socket was closed: from then on, they were refused.
        tries = _next_try((outage.first or bound) - began)
        waited = max(tries, accepted - bound)
    else:
        waited = accepted - max(began, service.restart_times()[0], outage.last)
    return Outcome(0.0, waited, cut_off=not emptied, retried=retried)


def _next_try(seconds: float) -> float:
    """How long a connection waits that is not answered for a time: TCP tries again after 1 s, and
    then each second (Linux 6.5) or after 3 s and 7 s.
    """
    return float(math.ceil(seconds + _JITTER))


def _test_start(service: Service, tell: Callable[[str], None]) -> None:
    """Reload: if the program cannot start then, it cannot start on its own, either, unless only one
    may run. Raises NotStarted.
    """
    try:
        service.test_reload(
            "its program would not start again: a test reload failed; fix the program, or add "
            "--force"
        )
    except OnlyOne as error:
        tell(f"the test reload was inconclusive: {error}")
        return
    # A worker that has only been forked may lose its SIGTERM; gunicorn then waits 30 s for it.
    service.wait_stable(service.supervised_addresses())


def _clean_up(service: Service, addresses: Sequence[Address]) -> None:
    """Remove what an interrupted wrap has left beside a program that runs on its own."""
    files, manager = service.files, service.manager
    files.remove_stand_in()
    service.end_trial()
    state = manager.call("show", "--value", "--property=ActiveState", files.socket).strip()
    if addresses and state == "active":
        # The service no longer requires it.
        service.stop_unit(files.socket)
        service.stop_unit(files.stand_in)
        with contextlib.suppress(OSError), service.sockets_at(addresses) as sockets:
            sockets.admit_again()
            sockets.stop_steering()


def _put_back(service: Service, texts: Texts, old: str, addresses: Sequence[Address]) -> None:
    files = service.files
    wanted = {files.drop_in_path: texts.drop_in}
    if texts.socket:
        wanted[files.socket_path] = texts.socket
    changed = {path: text for path, text in wanted.items() if marked_files.read(path) != text}
    if not changed:
        return  # Nothing has begun yet.
    for path, text in changed.items():
        if text:
            write(path, text)
        else:
            remove(path)
    service.manager.call("daemon-reload")
    if service.main_pid() == old:
        with contextlib.suppress(OSError), service.sockets_at(addresses) as sockets:
            sockets.admit_again()
        return
    service.start_again(addresses)
