"""The parts of a supervisor, made in the order in which they need each other.

`Ground` needs only what the supervisor holds. `Core` adds the lifecycle, and the parts that tell it
something or do what it asks for. assembly.py adds those that others ask from outside.
"""

from __future__ import annotations

import os
from functools import partial

from sockact.core.history.failures import Window
from sockact.core.lifecycle.model import Phase
from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.base.retry import Retry
from sockact.supervisor.gates.drain_census import DrainCensus
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.revival import Revival
from sockact.supervisor.generations.context import Context, SettingsInForce
from sockact.supervisor.generations.generations import Generations
from sockact.supervisor.hooks.dispatcher import HookDispatcher
from sockact.supervisor.hooks.runner import HookRunner
from sockact.supervisor.logs.logs import Logs
from sockact.supervisor.logs.program_logs import ProgramLogs
from sockact.supervisor.logs.rotation import Rotation
from sockact.supervisor.logs.targets import targets
from sockact.supervisor.processes import fd_store
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls
from sockact.supervisor.processes.termination import Termination
from sockact.supervisor.records.history import History
from sockact.supervisor.records.state_dir import state_dir
from sockact.supervisor.service.announcer import Announcer
from sockact.supervisor.service.callers import Callers
from sockact.supervisor.service.facts import GateFacts
from sockact.supervisor.service.handovers import Handovers
from sockact.supervisor.service.lifecycle import Lifecycle
from sockact.supervisor.service.performer import Performer
from sockact.supervisor.service.policy import policy_of
from sockact.supervisor.service.reports import Reports
from sockact.supervisor.service.shutdown import Shutdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Adopt, Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.control.paths import Claim
    from sockact.supervisor.records.carried_state import CarriedProgram
    from sockact.systemd.notify import Notifier


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

    def notice(self, message: str, news: News = News.NOTE) -> None:
        """Report something about the service as a whole."""
        self.reporter.say(message, report.NOTICE, news=news)


class Ground:
    """The parts that need no lifecycle.

    `troubles` gives what systemd's status line ends with; `show` is called after each change that
    `status` shows.
    """

    def __init__(
        self,
        held: Held,
        carried: CarriedProgram | None,
        troubles: Callable[[], str],
        show: Callable[[], None],
    ) -> None:
        settings = held.settings
        self.environment = dict(os.environ)
        self.loop = Loop()
        self.settings = SettingsInForce(settings)
        self.generations = Generations(self.settings)
        self.history = History(
            state_dir(settings.name, self.environment),
            Window(settings.start_limit_interval, settings.start_limit_burst),
            held.notice,
            carried=carried.history if carried else None,
            version_of=self.generations.version_of,
        )
        self.reports = Reports(held.reporter, self.history.ledger, self.generations)
        self.announcer = Announcer(self.loop, held.notifier, held.notice, troubles)
        self.callers = Callers(self.reports.say)
        self.retry = Retry(self.loop, held.notice)
        name = f"sockact/{settings.name}/{os.getpid()}/{os.urandom(8).hex()}"
        self.shim_address = carried.shim_address if carried else name
        self.processes = Processes(self.shim_address)
        self.calls = ShimCalls(
            self.loop,
            self.shim_address,
            self.processes.generation_of,
            self.generations.where,
            carried.calls if carried else None,
        )
        stop_signal, reopen_signal = (
            self.generations.stop_signal_of,
            self.generations.reopen_signal_of,
        )
        self.termination = Termination(self.processes, stop_signal, self.reports.say)
        self.hooks = HookRunner(self.loop)
        self.logs = Logs(self.loop, targets(settings), held.notice, show)
        reopening = ProgramLogs(self.loop, self.processes, self.calls, reopen_signal)
        self.rotation = Rotation(reopening, (self.logs,))
        self.shutdown = Shutdown(self.loop, self.hooks, self.logs)


class Core:
    """The lifecycle, and the parts that tell it something or do what it asks for."""

    def __init__(self, held: Held, ground: Ground, adopt: Adopt, show: Callable[[], None]) -> None:
        loop, listeners, say = ground.loop, held.listeners, ground.reports.say
        policy = policy_of(held.settings)
        self._ground = ground
        self._show = show
        self.lifecycle = Lifecycle(policy, loop, ground.retry, lambda: self.performer)
        notice = partial(held.notice, news=News.LISTENER)
        self.revival = Revival(loop, listeners, self._is_wanted, notice)
        moved = GateFacts(self.lifecycle, ground.reports, self.revival).moved
        self.gates = Gates(ground.processes, ground.calls, listeners, moved, ground.reports.adapter)
        tell = self.lifecycle.gate_is_closed, self.lifecycle.handle, say
        self.drains = DrainCensus(loop, ground.processes, self.gates, listeners, policy, *tell)
        self.context = Context(
            ground.settings,
            adopt,
            loop,
            listeners,
            ground.processes,
            ground.environment,
            ground.shim_address,
            ground.logs,
            self.lifecycle.handle,
            ground.reports.no_version,
            self._version_known,
        )
        self.handovers = Handovers(
            self.lifecycle,
            ground.settings,
            ground.generations,
            ground.history,
            ground.callers,
            ground.announcer,
        )
        self.performer = self._make_performer()

    def _make_performer(self) -> Performer:
        ground = self._ground
        ledger = ground.history.ledger
        schedule = HookDispatcher(
            ground.hooks, self.context, ground.generations, ledger, ground.reports.say
        )
        return Performer(
            self.lifecycle,
            self.context,
            ground.generations,
            self.gates,
            self.drains,
            ground.termination,
            schedule,
            self.handovers,
            ground.callers,
            ground.announcer,
            ground.history,
            ground.reports,
            ground.shutdown,
            self._show,
        )

    def _is_wanted(self, listener: Listener) -> bool:
        """Whether a listener that a program has shut down is to listen again."""
        return not listener.owned or self.lifecycle.service.phase is not Phase.STOPPING

    def _version_known(self, number: int) -> None:
        """A command has told the version of this generation."""
        ground = self._ground
        g = self.lifecycle.service.get(number)
        version = ground.generations.version_of(number)
        if g is not None and g.introduced and version:
            ground.reports.say(number, f"version {version}")
        ground.hooks.look(number)
        self._show()
