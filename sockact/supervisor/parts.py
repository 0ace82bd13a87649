"""The parts of a supervisor, made in the order in which they need each other.

`BaseParts` need no lifecycle. `LifecycleParts` are the lifecycle and the parts that send events to
it or perform its actions. assembly.py adds the parts that are asked from outside.
"""

from __future__ import annotations

import os
from functools import partial

from sockact.core.history.failures import Window
from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Gate, Phase
from sockact.core.message_kinds import News
from sockact.handover.lock_files import LockFiles
from sockact.supervisor.base import report
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.base.retry import Retry
from sockact.supervisor.gates.drain_census import DrainCensus
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.listener_watch import ListenerWatch
from sockact.supervisor.generations.context import Context, SettingsInForce
from sockact.supervisor.generations.generations import Generations
from sockact.supervisor.hooks.dispatcher import HookDispatcher
from sockact.supervisor.hooks.runner import HookRunner
from sockact.supervisor.logs.logs import Logs
from sockact.supervisor.logs.program_logs import ProgramLogs
from sockact.supervisor.logs.rotation import Rotation
from sockact.supervisor.logs.targets import targets
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls
from sockact.supervisor.processes.termination import Termination
from sockact.supervisor.records.history import History
from sockact.supervisor.records.state_dir import state_dir
from sockact.supervisor.service.announcer import Announcer
from sockact.supervisor.service.handovers import Handovers
from sockact.supervisor.service.lifecycle import Lifecycle
from sockact.supervisor.service.outcomes import Outcomes
from sockact.supervisor.service.performer import Performer
from sockact.supervisor.service.policy import policy_of
from sockact.supervisor.service.reports import Reports
from sockact.supervisor.service.shutdown import Shutdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Adopt
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.records.carried_state import CarriedProgram
    from sockact.supervisor.resources import Resources


class BaseParts:
    """The parts that need no lifecycle."""

    def __init__(
        self,
        resources: Resources,
        carried: CarriedProgram | None,
        troubles: Callable[[], str],
        show: Callable[[], None],
    ) -> None:
        """`troubles` returns the end of systemd's status line. `show` is called after each change
        that `status` shows.
        """
        settings = resources.settings
        self.environment = dict(os.environ)
        self.loop = Loop()
        self.settings = SettingsInForce(settings)
        self.generations = Generations(self.settings)
        self.history = History(
            state_dir(settings.name, self.environment),
            Window(settings.start_limit_interval, settings.start_limit_burst),
            resources.notice,
            carried=carried.history if carried else None,
            version_of=self.generations.version_of,
        )
        self.reports = Reports(resources.reporter, self.history.ledger, self.generations)
        self.announcer = Announcer(self.loop, resources.notifier, resources.notice, troubles)
        self.outcomes = Outcomes(self.reports.say)
        self.retry = Retry(self.loop, resources.notice)
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
        self.termination = Termination(
            self.processes, self.generations.stop_signal_of, self.reports.say
        )
        self.hooks = HookRunner(self.loop)
        self.logs = Logs(self.loop, targets(settings), resources.notice, show)
        reopening = ProgramLogs(
            self.loop, self.processes, self.calls, self.generations.reopen_signal_of
        )
        self.rotation = Rotation(reopening, (self.logs,))
        self.shutdown = Shutdown(self.loop, self.hooks, self.logs)


class LifecycleParts:
    """The lifecycle, and the parts that send events to it or perform its actions."""

    def __init__(
        self, resources: Resources, base: BaseParts, adopt: Adopt, show: Callable[[], None]
    ) -> None:
        """`adopt` is the way of adopting; never AUTO. `show` as for BaseParts."""
        loop, listeners, say = base.loop, resources.listeners, base.reports.say
        policy = policy_of(resources.settings)
        self._base = base
        self._show = show
        self.lifecycle = Lifecycle(policy, loop, base.retry, lambda: self.performer)
        notice = partial(resources.notice, news=News.LISTENER)
        self.listener_watch = ListenerWatch(loop, listeners, self._is_wanted, notice)
        self.gates = Gates(
            base.processes, base.calls, listeners, self._gate_moved, base.reports.report_adapter
        )
        tell = self.lifecycle.gate_is_closed, self.lifecycle.handle, say
        self.drains = DrainCensus(loop, base.processes, self.gates, listeners, policy, *tell)
        self.context = Context(
            base.settings,
            adopt,
            loop,
            listeners,
            base.processes,
            base.environment,
            base.shim_address,
            base.logs,
            LockFiles(),
            self.lifecycle.handle,
            base.reports.report_unlisted,
            base.reports.report_unknown_version,
            self._version_known,
        )
        self.handovers = Handovers(
            self.lifecycle,
            base.settings,
            base.generations,
            base.history,
            base.outcomes,
            base.announcer,
        )
        self.performer = self._make_performer()

    def _make_performer(self) -> Performer:
        base = self._base
        ledger = base.history.ledger
        schedule = HookDispatcher(
            base.hooks, self.context, base.generations, ledger, base.reports.say
        )
        return Performer(
            self.lifecycle,
            self.context,
            base.generations,
            self.gates,
            self.drains,
            base.termination,
            schedule,
            self.handovers,
            base.outcomes,
            base.announcer,
            base.history,
            base.reports,
            base.shutdown,
            self._show,
        )

    def _is_wanted(self, listener: Listener) -> bool:
        """Whether to listen again on a listener that a program has shut down."""
        return not listener.owned or self.lifecycle.service.phase is not Phase.STOPPING

    def _gate_moved(self, number: int, gate: Gate, reason: str) -> None:
        """Handle the end of an order to move the gate of generation `number`."""
        if gate is Gate.NONE:
            g = self.lifecycle.service.get(number)
            change = "resume" if g is not None and g.gate is Gate.OPENING else "stop"
            message = f"cannot be made to {change} accepting connections: {reason}"
            self._base.reports.say(number, message, report.NOTICE, News.GATE)
        self.lifecycle.handle(events.GateMoved(number, gate, reason))
        service = self.lifecycle.service
        if service.phase is Phase.STOPPING and all(
            g.gate is Gate.CLOSED for g in service.generations
        ):
            # No generation accepts any more: refuse new clients now, not only at the end.
            self.listener_watch.shut_owned()

    def _version_known(self, number: int) -> None:
        """Report the version of a generation that a command has printed."""
        base = self._base
        g = self.lifecycle.service.get(number)
        version = base.generations.version_of(number)
        if g is not None and g.introduced and version:
            base.reports.say(number, f"version {version}")
        base.hooks.look(number)
        self._show()
