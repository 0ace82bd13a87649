"""Takes over from the previous version of sockact, which executed this code: docs/upgrade.md.

If the state that it handed over cannot be used, this code executes itself once more, keeps only the
listeners, and starts the service anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import sockact
from sockact.core.errors import OperatorError
from sockact.core.message_kinds import News
from sockact.core.numbers import whole
from sockact.core.record import replace
from sockact.core.settings import Settings
from sockact.handover import lane_opening
from sockact.handover.abandoned import steer_to_clients
from sockact.kernel import memfd, procfs
from sockact.kernel.libc import become_subreaper
from sockact.kernel.sockets.listener import of_descriptor
from sockact.supervisor.assembly import Supervisor
from sockact.supervisor.base import report
from sockact.supervisor.base.report import Reporter
from sockact.supervisor.control.claim import Claim
from sockact.supervisor.main import serve
from sockact.supervisor.processes import launch
from sockact.supervisor.processes.family import descendants
from sockact.supervisor.records import carried_state
from sockact.supervisor.resources import Resources
from sockact.supervisor.upgrade import CHECK, PROOF, VARIABLE, execute_installed
from sockact.systemd.fdstore import Process, process_name
from sockact.systemd.notify import Notifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.sockets.sockopt import Option
    from sockact.supervisor.records.carried_state import CarriedListener, CarriedSupervisor

_STDIN = 0
_LAST_FD = (1 << 31) - 1
_SHOWN = 40


def main(value: str) -> int:
    """Take over, or check whether that is possible; return the exit status of `sockact run`.

    `value` is that of VARIABLE.
    """
    try:
        data = memfd.contents(_STDIN) if value == CHECK else _state(value)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"sockact: unset {VARIABLE}, which only sockact itself sets ({error})\n")
        return 2
    if value == CHECK:
        return _check(data)
    try:
        carried = carried_state.read(data)
    except ValueError as error:
        sys.stderr.write(f"sockact: upgrade failed: {error}; start the service again\n")
        return 1
    return _resume(carried)


def _check(data: bytes) -> int:
    """Write to standard output whether this version can use the state; return an exit status."""
    try:
        carried = carried_state.read(data)
        theirs = (one.settings for one in carried.engine.generations)
        for settings in filter(None, (carried.settings, *theirs)):
            Settings.from_older(settings)
        Notifier(os.environ).close()  # Loads a module from outside of the package.
    except Exception as error:
        # As ASCII: the state may have told of anything, lone surrogates included.
        reason = str(error).encode("ascii", "backslashreplace").decode()
        sys.stdout.write(f"{type(error).__name__}: {reason}")
        return 1
    sys.stdout.write(f"{PROOF}{sockact.__version__}")
    return 0


def _state(value: str) -> bytes:
    """Read the state that was handed over. Raises OSError, ValueError."""
    fd = whole(value, _LAST_FD)
    if fd is None:
        raise ValueError(f"{value[:_SHOWN]!r} is not a file descriptor")
    data = memfd.contents(fd)
    os.close(fd)
    return data


def _resume(carried: CarriedSupervisor) -> int:
    """Run the service with what was handed over; return the exit status of `sockact run`."""
    if carried.pid != os.getpid():
        sys.stderr.write(f"sockact: unset {VARIABLE}, which process {carried.pid} set for itself\n")
        return 2
    try:
        for one in carried.descriptors():
            os.set_inheritable(one, False)
        settings = Settings.from_older(carried.settings)
        reporter = Reporter(settings.name, style=settings.log_format, terse=settings.terse)
        resources = _take_resources(carried, settings, reporter)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(f"sockact: upgrade failed: {text}; start the service again\n")
        return 1
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(carried.command_name)
    status = None
    try:
        become_subreaper()  # Kept over execve(2), but this costs nothing.
        status = _start_anew(resources, carried) if carried.anew else _continue(resources, carried)
        return status
    except OperatorError as error:
        reporter.say(str(error), report.ERROR)
        return 2
    finally:
        resources.release(status)
        reporter.close()


def _take_resources(
    carried: CarriedSupervisor, settings: Settings, reporter: Reporter
) -> Resources:
    launch.set_file_limit(carried.files)
    notifier = Notifier(os.environ)
    notifier.take_over(
        [(one.name, one.text, one.fd) for one in carried.files_untold],
        [(one.name, one.more) for one in carried.states_untold],
        stores=carried.stores,
    )
    claim = Claim(carried.directory, carried.lock, carried.made_directory)
    listeners = [
        replace(of_descriptor(x.fd, x.name, owned=x.owned, original=_options(x)), lane=x.lane)
        for x in carried.listeners
    ]
    return Resources(settings, reporter, claim, notifier, listeners)


def _options(listener: CarriedListener) -> tuple[Option, ...]:
    return tuple((x.level, x.option, x.value.encode("latin-1")) for x in listener.options)


def _continue(resources: Resources, carried: CarriedSupervisor) -> int:
    try:
        engine = carried.engine
        found = lane_opening.group(resources.listeners, engine.steered, engine.lane_orders)
        supervisor = Supervisor(resources, found, engine.adopt, engine)
        outside = supervisor.resume(carried)
    except Exception as error:
        # Whatever failed: clients are waiting, and only this process has the listeners.
        execute_installed(
            replace(carried, anew=f"{type(error).__name__}: {error}", files_untold=())
        )
    return supervisor.serve_on(outside)


def _start_anew(resources: Resources, carried: CarriedSupervisor) -> int:
    """Start as after a kill of the supervisor: only the listeners are kept."""
    message = f"upgrade from {carried.version} failed ({carried.anew}); starting the program again"
    resources.reporter.say(message, report.ERROR, news=News.UPGRADE_FAILED)
    left: list[Process] = []
    for pid in _children():
        with contextlib.suppress(OSError):
            left.append(Process(process_name(pid), pid, os.pidfd_open(pid)))
            signal.pidfd_send_signal(left[-1].pidfd, resources.settings.stop_signal)
    found = lane_opening.group(resources.listeners, carried.engine.steered)
    if found.count > 1:
        steer_to_clients(found)
    return serve(resources, found, left)


def _children() -> list[int]:
    """Return the children of this process: first processes of generations, and orphans."""
    found = []
    for pid in descendants(os.getpid()):
        with contextlib.suppress(OSError):  # hidepid= hides it.
            process = procfs.process(pid)
            if process and process.parent == os.getpid():
                found.append(pid)
    return found
