"""The other end of an upgrade in place: this code was executed by an earlier version of itself.

docs/upgrade.md. Nothing of what was handed over is undone when it cannot be gone on with: then this
code executes itself once more, with the listeners only, and starts the service anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import sockact
from sockact.core.errors import OperatorError
from sockact.core.message_kinds import News
from sockact.core.record import replace
from sockact.core.settings import Settings
from sockact.kernel import memfd, procfs
from sockact.kernel.libc import become_subreaper
from sockact.kernel.sockets.listener import of_descriptor
from sockact.supervisor.assembly import Supervisor
from sockact.supervisor.base import report
from sockact.supervisor.base.report import Reporter
from sockact.supervisor.control.paths import Claim
from sockact.supervisor.main import serve
from sockact.supervisor.parts import Held
from sockact.supervisor.processes import launch
from sockact.supervisor.processes.processes import descendants
from sockact.supervisor.records import carried_state
from sockact.supervisor.upgrade import CHECK, PROOF, VARIABLE, leap
from sockact.systemd.fdstore import Process, process_name
from sockact.systemd.notify import Notifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.records.carried_state import CarriedSupervisor

_STDIN = 0
_DIGITS = 9


def main(told: str) -> int:
    """`told` is the value of VARIABLE; the exit status of `sockact run`."""
    try:
        data = memfd.contents(_STDIN) if told == CHECK else _given(told)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"sockact: {VARIABLE} is for sockact itself ({error}): unset it\n")
        return 2
    if told == CHECK:
        return _check(data)
    try:
        carried = carried_state.read(data)
    except ValueError as error:
        sys.stderr.write(f"sockact: the upgrade failed: {error}; start the service again\n")
        return 1
    return _resume(carried)


def _check(data: bytes) -> int:
    """Could we go on with this state? Says so on stdout, or why not."""
    try:
        carried = carried_state.read(data)
        theirs = (one.settings for one in carried.engine.generations)
        for settings in filter(None, (carried.settings, *theirs)):
            Settings.from_older(settings)
        Notifier(os.environ).close()  # It needs a module of others.
    except Exception as error:
        sys.stdout.write(f"{type(error).__name__}: {error}")
        return 1
    sys.stdout.write(f"{PROOF}{sockact.__version__}")
    return 0


def _given(told: str) -> bytes:
    """What was handed over. Raises OSError, ValueError."""
    if not (told.isascii() and told.isdecimal() and len(told) <= _DIGITS):
        raise ValueError(f"{told!r} is no descriptor")
    data = memfd.contents(int(told))
    os.close(int(told))
    return data


def _resume(carried: CarriedSupervisor) -> int:
    if carried.pid != os.getpid():
        sys.stderr.write(f"sockact: {VARIABLE} is of process {carried.pid}: unset it\n")
        return 2
    for one in carried.descriptors():
        os.set_inheritable(one, False)
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(carried.command_name)
    settings = Settings.from_older(carried.settings)
    reporter = Reporter(settings.name, style=settings.log_format, terse=settings.terse)
    status = None
    held = _held(carried, settings, reporter)
    try:
        become_subreaper()  # It is kept over execve; this costs nothing.
        status = _anew(held, carried) if carried.anew else _go_on(held, carried)
        return status
    except OperatorError as error:
        reporter.say(str(error), report.ERROR)
        return 2
    finally:
        held.release(status)
        reporter.close()


def _held(carried: CarriedSupervisor, settings: Settings, reporter: Reporter) -> Held:
    launch.set_file_limit(carried.files)
    notifier = Notifier(os.environ)
    notifier.take_over(
        [(one.name, one.text, one.fd) for one in carried.files_untold],
        [(one.name, one.more) for one in carried.states_untold],
        stores=carried.stores,
    )
    claim = Claim(carried.directory, carried.lock, carried.made_directory)
    listeners = [of_descriptor(x.fd, x.name, owned=x.owned) for x in carried.listeners]
    return Held(settings, reporter, claim, notifier, listeners)


def _go_on(held: Held, carried: CarriedSupervisor) -> int:
    try:
        supervisor = Supervisor(held, carried.engine.adopt, carried)
        supervisor.resume(carried)
    except Exception as error:
        # Whatever it is: clients wait, and nobody else can serve them.
        leap(replace(carried, anew=f"{type(error).__name__}: {error}", files_untold=()))
    return supervisor.go_on()


def _anew(held: Held, carried: CarriedSupervisor) -> int:
    """Start again as if the supervisor had been killed: nothing but the listeners is left."""
    message = f"the upgrade from {carried.version} failed ({carried.anew}): starting anew"
    held.reporter.say(message, report.ERROR, news=News.UPGRADE_FAILED)
    left: list[Process] = []
    for pid in _children():
        with contextlib.suppress(OSError):
            left.append(Process(process_name(pid), pid, os.pidfd_open(pid)))
            signal.pidfd_send_signal(left[-1].pidfd, held.settings.stop_signal)
    return serve(held, left)


def _children() -> list[int]:
    """The first processes of generations, and orphans of theirs."""
    found = map(procfs.process, descendants(os.getpid()))
    return [process.pid for process in found if process and process.parent == os.getpid()]
