"""A supervisor with all that belongs to it, started or taken over from an earlier version."""

from __future__ import annotations

import os
import signal

import sockact
from sockact.core.history.failures import Window
from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.changes.configuration import Configured
from sockact.supervisor.changes.reloads import Watching
from sockact.supervisor.control import server
from sockact.supervisor.processes import fd_store, launch
from sockact.supervisor.records.carried import Carried, CarriedFile, CarriedListener, CarriedState
from sockact.supervisor.records.history import History
from sockact.supervisor.records.snapshots import Snapshots
from sockact.supervisor.records.state_dir import state_dir
from sockact.supervisor.service.announcer import Announcer
from sockact.supervisor.service.policy import policy_of
from sockact.supervisor.service.requests import Supervisor
from sockact.supervisor.upgrade import Upgrades
from sockact.systemd.notify import watchdog_interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Adopt, Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.control.paths import Claim
    from sockact.systemd.fdstore import Process
    from sockact.systemd.notify import Notifier

SIGNALS = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
)

_COMMAND_NAME = "/proc/self/comm"


class Held:
    """What a supervisor has before it serves, and lets go of at its end."""

    def __init__(
        self,
        settings: Settings,
        reporter: Reporter,
        claim: Claim,
        notifier: Notifier,
        listeners: list[Listener],
    ) -> None:
        self.settings = settings
        self.reporter = reporter
        self.claim = claim
        self.notifier = notifier
        self.listeners = listeners

    def release(self, status: int | None) -> None:
        """The service has ended with this exit status, or failed (None)."""
        fd_store.close_listeners(self.listeners, self.notifier, ended=status == 0)
        self.notifier.close()
        self.claim.release()


class Running:
    """The loop and everything in it."""

    def __init__(self, held: Held, way: Adopt, carried: Carried | None = None) -> None:
        """`carried` is what an earlier version of us has left."""
        settings = held.settings
        self._held = held
        self._carried = carried
        engine = carried.engine if carried else None
        environment = dict(os.environ)
        self._watchdog = watchdog_interval(environment) if held.notifier.active else None
        self._loop = Loop()
        history = History(
            state_dir(settings.name, environment),
            Window(settings.start_limit_interval, settings.start_limit_burst),
            self._notice,
            carried=engine.history if engine else None,
        )
        announcer = Announcer(self._loop, held.notifier, self._notice, self._troubles)
        self._history = history
        name = f"sockact/{settings.name}/{os.getpid()}/{os.urandom(8).hex()}"
        self._supervisor = Supervisor(
            settings,
            policy_of(settings),
            way,
            held.listeners,
            environment,
            self._loop,
            announcer,
            held.reporter,
            engine.shim_address if engine else name,
            history,
            engine,
        )
        self._server = server.Server(
            self._loop,
            held.claim.directory,
            self._supervisor,
            carried.control if carried else None,
        )
        fd = carried.inotify if carried else None
        self._watching = Watching(self._loop, self._supervisor, held.reporter, fd)
        self._supervisor.watching = self._watching
        self._supervisor.shown(self._changed)
        self._upgrades = Upgrades(self._loop, SIGNALS, self._busy, self._carry, self._notice)
        self._supervisor.upgrades = self._upgrades
        self._supervisor.watch(self._upgrades)
        if settings.config:
            self._configure(environment)

    def _configure(self, environment: dict[str, str]) -> None:
        held, supervisor = self._held, self._supervisor
        configured = Configured(self._loop, supervisor, environment, held.listeners, held.reporter)
        supervisor.configured = configured
        supervisor.watch(configured)
        kept = Snapshots(state_dir(held.settings.name, environment), self._notice)

        def changed() -> None:
            kept.serves(supervisor.served())
            configured.look()
            self._changed()

        supervisor.changed = changed

    def _changed(self) -> None:
        """What `status` shows has."""
        self._server.changed()
        self._watching.look()

    def _troubles(self) -> str:
        """For the status line."""
        return "; ".join(filter(None, (self._history.describe(), self._watching.stopped())))

    def start(self, left: list[Process]) -> int:
        """Serve, once what an earlier supervisor has left has ended; the exit status."""
        forget = self._held.notifier.remove
        try:
            self._loop.catch(SIGNALS, self._supervisor.signalled)
            self._supervisor.start_after(fd_store.living(left, forget), forget, self._watchdog)
            return self._run()
        finally:
            self._close()

    def take_over(self) -> None:
        """Go on where the earlier version was; `go_on` has to follow."""
        assert self._carried
        self._supervisor.take_over(self._carried.engine, self._watchdog)
        self._watching.look()
        before, now = self._carried.version, sockact.__version__
        self._held.reporter.say(f"upgraded in place, from {before} to {now}", news=News.UPGRADED)
        self._server.take_over(self._carried.connections, before)

    def go_on(self) -> int:
        """Serve; the exit status."""
        try:
            self._loop.catch(SIGNALS, self._supervisor.signalled)
            return self._run()
        finally:
            self._close()

    def _run(self) -> int:
        self._loop.run()
        assert self._supervisor.exit_status is not None
        return self._supervisor.exit_status

    def _close(self) -> None:
        self._upgrades.close()
        self._server.close()
        self._supervisor.close()
        self._loop.close()

    def _notice(self, message: str, news: News = News.NOTE) -> None:
        self._held.reporter.say(message, report.NOTICE, news=news)

    def _busy(self) -> str:
        if reason := self._supervisor.busy():
            return reason
        call = self._server.busy()
        return f"a client waits for the end of its {call}" if call else ""

    def _carry(self) -> Carried:
        held = self._held
        with open(_COMMAND_NAME) as file:
            command_name = file.read().rstrip("\n")
        self._server.flush()
        files, states = held.notifier.untold()
        return Carried(
            sockact.__version__,
            os.getpid(),
            command_name,
            self._supervisor.settings().to_json(),
            held.claim.directory,
            held.claim.made,
            held.claim.fileno(),
            launch.file_limit(),
            held.notifier.stores,
            tuple(CarriedFile(*one) for one in files),
            tuple(CarriedState(*one) for one in states),
            tuple(CarriedListener(x.socket.fileno(), x.name, x.owned) for x in held.listeners),
            self._server.fileno(),
            self._server.carried(),
            self._supervisor.carried(),
            inotify=self._watching.fileno(),
        )
