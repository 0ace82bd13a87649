"""Setting up the supervisor: settings, lock, listeners, the way of adopting; then the loop."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.settings import Adopt, Settings
from sockact.handover import adopt
from sockact.kernel.libc import become_subreaper
from sockact.supervisor.assembly import Supervisor
from sockact.supervisor.base import report
from sockact.supervisor.base.report import Reporter
from sockact.supervisor.control import paths
from sockact.supervisor.logs.targets import check as check_logs
from sockact.supervisor.parts import Held
from sockact.supervisor.probes.probe_commands import trial_command
from sockact.supervisor.processes import fd_store, launch
from sockact.systemd import listeners
from sockact.systemd.notify import Notifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.sockets.listener import Listener
    from sockact.systemd.fdstore import Kept, Process


def main(told: str) -> int:
    """Run the service that the settings describe (JSON); the exit status of `sockact run`."""
    settings = Settings.from_json(told)
    reporter = Reporter(settings.name, style=settings.log_format, terse=settings.terse)
    try:
        return _run(settings, reporter)
    except (OperatorError, paths.RuntimeDirError) as error:
        reporter.say(str(error), report.ERROR)
        return 2
    finally:
        reporter.close()


def _run(settings: Settings, reporter: Reporter) -> int:
    # Before any file is opened: a descriptor that LISTEN_FDS names wrongly must not become one.
    passed, kept = listeners.passed(os.environ)
    launch.raise_file_limit()
    check_logs(settings)
    claim = paths.claim(paths.runtime_dir(settings.name))
    notifier = Notifier(os.environ)
    notifier.learn_store(os.environ)
    held = Held(settings, reporter, claim, notifier, [])
    status = None
    try:
        held.listeners.extend(_listeners(settings, reporter, passed, kept, notifier))
        status = serve(held, kept.processes)
        return status
    finally:
        held.release(status)


def _listeners(
    settings: Settings,
    reporter: Reporter,
    passed: list[Listener] | None,
    kept: Kept,
    notifier: Notifier,
) -> list[Listener]:
    if passed is not None:
        if {listeners.parse(text)[1] for text in settings.listen} - {x.address for x in passed}:
            reporter.say("systemd passed listeners: --listen is ignored", report.NOTICE)
        fd_store.own_listeners((), kept, notifier)  # Nothing that was kept is wanted any more.
        return passed
    if not settings.listen:
        raise OperatorError(
            "no listener: systemd passed none (is the .socket unit active?) "
            "and there is no --listen ADDRESS"
        )
    return fd_store.own_listeners(settings.listen, kept, notifier)


def serve(held: Held, left: list[Process]) -> int:
    """Start the service, once the processes have ended that an earlier supervisor has left."""
    # At the first reload it would be late to learn of it.
    trial_command(held.settings, held.listeners)
    way = _choose(held.settings.adopt, held.reporter)
    become_subreaper()
    return Supervisor(held, way).start(left)


def _choose(wanted: Adopt, reporter: Reporter) -> Adopt:
    """The way of adopting: as asked for, or seccomp where it works, else the shim."""
    if wanted not in (Adopt.AUTO, Adopt.SECCOMP):
        return wanted
    reason = adopt.unavailable()
    if not reason:
        return Adopt.SECCOMP
    if wanted is Adopt.SECCOMP:
        raise OperatorError(f"--adopt seccomp: {reason}; use --adopt shim for a Python program")
    reporter.say(f"adopting by the shim, Python programs only ({reason})", report.NOTICE)
    return Adopt.SHIM
