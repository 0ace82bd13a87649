"""The steps of a wrap: docs/wrap.md has their order and the reasons.

If a step fails or is interrupted, all of them are undone.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from sockact.core.errors import OperatorError
from sockact.core.matching import Kind
from sockact.units import listening_sockets
from sockact.units.wrap import marked_files, unwrapping
from sockact.units.wrap.marked_files import remove, write
from sockact.units.wrap.outage import Outage, Outcome, can_connect
from sockact.units.wrap.service_sockets import ServiceSockets
from sockact.units.wrap.transaction import carry_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from sockact.core.matching import Address
    from sockact.units.listening_sockets import Bound
    from sockact.units.wrap.service import Service

_STAND_IN = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n"
_SOCKET_DROP_IN = "[Socket]\nReusePort=yes\nService={}\n"


@dataclass(frozen=True)
class Texts:
    """The files to write."""

    socket: str
    """The .socket unit; empty if the service has one."""
    unfinished: str
    """The drop-in for the restart, which stops the program by the service's own settings."""
    final: str
    """The drop-in."""
    trial: str = ""
    """The unit of a trial start; empty if there is none."""
    needs_listener: bool = False
    """Whether the trial is given the listeners of the .socket unit."""
    access: str = "none"
    """NotifyAccess= of the service itself."""
    prove: bool = False
    """Whether a reload has to succeed before the wrap is done."""
    has_lanes: bool = False
    """Whether the service has lanes: once it starts, the old sockets may be open no longer."""


def _say_nothing(_line: str) -> None:
    pass


def install(service: Service, texts: Texts) -> None:
    """Only write the files, for a start or restart later. Raises OperatorError."""

    def steps(undo: ExitStack) -> None:
        undo.callback(_remove_all, service, bool(texts.socket))
        _write_all(service, texts.socket, texts.final)

    carry_out(steps)


def wrap(
    service: Service,
    texts: Texts,
    outage: Outage,
    found: Sequence[Bound],
    tell: Callable[[str], None] = _say_nothing,
) -> Outcome:
    """Write the files, and restart the service under sockact.

    `found` are the old sockets of all addresses, if they may be shared; `tell` is called with what
    happens now. Raises OperatorError after everything was undone; `outage` has what clients
    noticed.
    """
    with outage, contextlib.ExitStack() as after:
        job = _Job(service, texts, outage, found, tell, after)
        waited, emptied = carry_out(lambda undo: _steps(undo, job))
    if found:
        _make_exclusive(service, outage.addresses)
    return Outcome(outage.seconds, waited, cut_off=not emptied, unsure=outage.unsure)


@dataclass(frozen=True)
class _Job:
    """What the steps work on."""

    service: Service
    texts: Texts
    outage: Outage
    found: Sequence[Bound]
    tell: Callable[[str], None]
    after: ExitStack
    """Has the duplicates of the old sockets; closed when they are not needed any more."""


def _steps(undo: ExitStack, job: _Job) -> tuple[float, bool]:
    """Take over, and prove a reload: a program of which only one may run starts, but never again
    beside itself.
    """
    back = contextlib.ExitStack()
    undo.callback(_go_back, back, job)
    result = _take_over(back, job)
    job.after.close()
    if job.texts.prove:
        job.tell("reloading once, to verify that a new generation starts beside the previous one")
        job.service.test_reload("it cannot be reloaded: a new generation did not start")
    _check_files(job.outage.addresses)
    return result


def _check_files(addresses: Sequence[Address]) -> None:
    """Raise OperatorError if clients of a socket file do not reach systemd's socket."""
    for one in addresses:
        if one.is_file and one.kind is Kind.STREAM and not can_connect(one.host):
            raise OperatorError(
                f"{one.host} is not systemd's socket file any more, so that no client can connect: "
                f"a command of the service or its program has removed it"
            )


def _go_back(back: ExitStack, job: _Job) -> None:
    """Undo the steps or, once the wrap is complete, unwrap: sockact stops in its own way."""
    service, texts = job.service, job.texts
    if marked_files.read(service.files.drop_in_path) == texts.final and service.is_wrapped():
        # The program could not bind beside its old sockets.
        job.after.close()
        own = unwrapping.Texts(texts.final, texts.socket, texts.access)
        unwrapping.restart_alone(service, own, job.outage if texts.socket else Outage(()))
    else:
        back.close()


def _take_over(undo: ExitStack, job: _Job) -> tuple[float, bool]:
    """How long nobody accepted, and whether all waiting connections were accepted before."""
    service, texts, found = job.service, job.texts, job.found
    files, manager = service.files, service.manager
    undo.callback(files.remove_leftovers)
    undo.callback(files.remove_stand_in)
    old = service.main_pid()
    undo.callback(_restart_old, service, old, tuple(one.address for one in found))
    sockets = _duplicate(found)
    if sockets:
        job.after.callback(sockets.close)
        undo.callback(sockets.close)
        undo.callback(sockets.unshare)
    undo.callback(_remove_all, service, bool(texts.socket))
    if texts.socket:
        own = {one.inode for one in found}
        undo.callback(_return_connections, service, sockets, old, job.outage, own)
    if sockets:
        undo.callback(_regain, sockets)
    shared = sockets is not None and _listen_beside(service, texts.socket, sockets)
    if texts.prove:
        _try_release(undo, job, shared=shared)
    job.tell("stopping the running program; new clients wait until the next one serves")
    _write_all(service, texts.socket, texts.unfinished)
    # What waits in a queue is cut off when it is closed.
    passed, emptied = 0.0, not texts.socket
    if sockets and shared:
        service.stop_unit(files.stand_in)
        passed = time.monotonic()
        emptied = _pass_connections(sockets, service)
        if texts.has_lanes:
            # The kernel numbers the lanes by what listens at the address.
            sockets.close()
    elif sockets:
        sockets.close()
    service.restart()
    if not service.is_wrapped():
        raise OperatorError(
            f"{files.service} is running without sockact; see `{manager.name} cat {files.service}` "
            f"for the file that overrides {files.drop_in_path}"
        )
    write(files.drop_in_path, texts.final)
    manager.call("daemon-reload")
    stopped, ready = service.restart_times()
    return ready - max(passed or stopped, job.outage.last), emptied


def _try_release(undo: ExitStack, job: _Job, *, shared: bool) -> None:
    """Start the release on disk before the running program is stopped for it."""
    service, texts = job.service, job.texts
    if not texts.trial or (texts.needs_listener and texts.socket and not shared):
        job.tell("the program cannot be tried before the running one stops: no second listener")
        return
    job.tell("starting the program under sockact, beside the running one")
    undo.callback(service.end_trial)
    service.try_start(texts.trial)
    service.end_trial()


def _return_connections(
    service: Service, sockets: ServiceSockets | None, old: str, outage: Outage, own: set[int]
) -> None:
    """Before systemd's sockets close: direct new connections to the program, if it never stopped,
    and count those that already wait. No other socket can take them.
    """
    with contextlib.suppress(OSError, OperatorError):
        untouched = service.main_pid() == old
        if untouched and not sockets:
            return  # Waiting connections are in the program's own queue.
        if sockets and untouched:
            sockets.keep_connections()
        waiting = (listening_sockets.count_waiting(one, own) for one in outage.addresses)
        outage.cut_off = sum(waiting)


def _pass_connections(sockets: ServiceSockets, service: Service) -> bool:
    try:
        return sockets.pass_connections()
    except OSError as error:
        raise OperatorError(
            f"cannot direct new connections to {service.files.socket}: {error.strerror or error}; "
            f"add --no-restart, and restart {service.files.service} at a quiet time"
        ) from error


def _regain(sockets: ServiceSockets) -> None:
    with contextlib.suppress(OSError):  # The program has ended.
        sockets.regain()


def _duplicate(found: Sequence[Bound]) -> ServiceSockets | None:
    try:
        return ServiceSockets(found) if found else None
    except OSError:
        return None  # Clients are refused for a moment then.


def _listen_beside(service: Service, text: str, sockets: ServiceSockets) -> bool:
    """Start the .socket unit while the program still listens; False if that is refused.

    systemd starts no .socket unit whose service is active, so it gets a stand-in for a moment.
    """
    files = service.files
    try:
        write(files.stand_in_path, _STAND_IN)
        write(files.socket_drop_in_path, _SOCKET_DROP_IN.format(files.stand_in))
        write(files.socket_path, text)
        service.manager.call("daemon-reload")
        sockets.share()
        sockets.hold_connections()
        service.manager.call("start", files.socket)
        sockets.keep_connections()
    except (OSError, OperatorError):
        service.stop_unit(files.socket)
        sockets.unshare()
        return False
    finally:
        files.remove_stand_in()
    return True


def _write_all(service: Service, socket: str, drop_in: str) -> None:
    # A newer file than the socket's start would look like a change that is not in effect.
    if socket and marked_files.read(service.files.socket_path) != socket:
        write(service.files.socket_path, socket)
    write(service.files.drop_in_path, drop_in)
    service.manager.call("daemon-reload")


def _remove_all(service: Service, socket: bool) -> None:
    files = service.files
    remove(files.drop_in_path)
    if socket:
        remove(files.socket_path)
    with contextlib.suppress(OperatorError):
        service.manager.call("daemon-reload")
    if socket:
        # The service no longer requires it.
        service.stop_unit(files.socket)
        service.stop_unit(files.stand_in)


def _restart_old(service: Service, old: str, addresses: Sequence[Address]) -> None:
    """Let the service run as before, unless it never stopped."""
    if service.main_pid() == old != "0":
        return
    service.start_again(addresses)


def _make_exclusive(service: Service, addresses: Sequence[Address]) -> None:
    """Undo on the listener what allowed systemd to bind beside the program."""
    with contextlib.suppress(OSError, OperatorError), service.sockets_at(addresses) as own:
        own.make_exclusive()
