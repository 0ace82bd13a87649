"""Setting up the supervisor: settings, lock, listeners, the way of adopting; then the loop."""

from __future__ import annotations

import os
import signal

from sockact.core.errors import OperatorError
from sockact.core.failures import Window
from sockact.core.model import Policy, Ready
from sockact.core.settings import Adopt, Settings
from sockact.handover import adopt
from sockact.kernel.libc import become_subreaper
from sockact.supervisor import control, launch, paths, report, store
from sockact.supervisor.announce import Announcer
from sockact.supervisor.history import History
from sockact.supervisor.loop import Loop
from sockact.supervisor.report import Reporter
from sockact.supervisor.state_dir import state_dir
from sockact.supervisor.supervisor import Supervisor
from sockact.supervisor.trial import command_of as trial_command_of
from sockact.systemd import listeners
from sockact.systemd.notify import Notifier, watchdog_interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.listener import Listener
    from sockact.systemd.fdstore import Kept, Process

SIGNALS = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
)


_JITTER = 0.25


def main(told: str) -> int:
    """Run the service that the settings describe (JSON); the exit status of `sockact run`."""
    settings = Settings.from_json(told)
    reporter = Reporter(settings.name)
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
    directory = paths.runtime_dir(settings.name)
    claim = paths.claim(directory)
    notifier = Notifier(os.environ)
    notifier.learn_store(os.environ)
    found: list[Listener] = []
    status = None
    try:
        found = _listeners(settings, reporter, passed, kept, notifier)
        status = _serve(settings, reporter, directory, found, notifier, kept.processes)
        return status
    finally:
        store.close_listeners(found, notifier, ended=status == 0)
        notifier.close()
        claim.release()


def _listeners(
    settings: Settings,
    reporter: Reporter,
    passed: list[Listener] | None,
    kept: Kept,
    notifier: Notifier,
) -> list[Listener]:
    if passed is not None:
        if settings.listen:
            reporter.say("systemd passed listeners: --listen is ignored", report.NOTICE)
        store.own_listeners((), kept, notifier)  # Nothing that was kept is wanted any more.
        return passed
    if not settings.listen:
        raise OperatorError(
            "no listener: systemd passed none (is the .socket unit active?) "
            "and there is no --listen ADDRESS"
        )
    return store.own_listeners(settings.listen, kept, notifier)


def _serve(
    settings: Settings,
    reporter: Reporter,
    directory: str,
    found: list[Listener],
    notifier: Notifier,
    left: list[Process],
) -> int:
    environment = dict(os.environ)
    trial_command_of(settings, found)  # At the first reload it would be late to learn of it.
    way = _choose(settings.adopt, reporter)
    become_subreaper()
    loop = Loop()
    history = _history(settings, environment, reporter)
    announcer = Announcer(
        loop, notifier, lambda m: reporter.say(m, report.NOTICE), history.describe
    )
    address = f"sockact/{settings.name}/{os.getpid()}/{os.urandom(8).hex()}"
    supervisor = Supervisor(
        settings,
        policy_of(settings),
        way,
        found,
        environment,
        loop,
        announcer,
        reporter,
        address,
        history,
    )
    server = control.Server(loop, directory, supervisor)
    supervisor.changed = server.changed
    loop.catch(SIGNALS, supervisor.signalled)
    try:
        interval = watchdog_interval(environment) if notifier.active else None
        supervisor.start_after(store.living(left, notifier.remove), notifier.remove, interval)
        loop.run()
    finally:
        server.close()
        supervisor.close()
        loop.close()
    assert supervisor.exit_status is not None
    return supervisor.exit_status


def _history(settings: Settings, environment: dict[str, str], reporter: Reporter) -> History:
    window = Window(settings.start_limit_interval, settings.start_limit_burst)
    directory = state_dir(settings.name, environment)
    return History(directory, window, lambda message: reporter.say(message, report.NOTICE))


def policy_of(settings: Settings) -> Policy:
    """The part of the settings that the lifecycle decides by."""
    ready = {"interest": Ready.INTEREST, "notify": Ready.NOTIFY}
    return Policy(
        ready=ready.get(settings.ready, Ready.PROBE),
        start_timeout=settings.start_timeout,
        trial=settings.trial,
        probed=bool(settings.probe),
        keep_predecessor=settings.keep_predecessor,
        max_draining=settings.max_draining,
        drain_timeout=settings.drain_timeout,
        kill_timeout=settings.kill_timeout,
        jitter=_JITTER,
        seed=int.from_bytes(os.urandom(4)) / 2**32,
    )


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
