"""The parts of a supervisor, made in the order in which they need each other.

`BaseParts` need no lifecycle. `LifecycleParts` are the lifecycle and the parts that send events to
it or perform its actions. assembly.py adds the parts that are asked from outside.
"""

from __future__ import annotations

import os
import time
from functools import partial

from sockact.core.history.failures import Window
from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Gate, Phase, State
from sockact.core.matching import Kind
from sockact.core.message_kinds import News
from sockact.core.settings import LaneUse
from sockact.handover.adoption.lock_files import LockFiles
from sockact.supervisor.base import report
from sockact.supervisor.base.faults import Faults
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.base.policy import policy_of
from sockact.supervisor.base.retry import Retry
from sockact.supervisor.gates.admission_gates import AdmissionGates
from sockact.supervisor.gates.decoys import Decoys
from sockact.supervisor.gates.drain_census import DrainCensus
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.lane_gates import LaneGates
from sockact.supervisor.gates.lending import Lending
from sockact.supervisor.gates.listener_watch import ListenerWatch
from sockact.supervisor.gates.websockets import WebSockets
from sockact.supervisor.generations.accept_watch import AcceptWatch
from sockact.supervisor.generations.context import Context, SettingsInForce
from sockact.supervisor.generations.generations import Generations
from sockact.supervisor.hooks.dispatcher import HookDispatcher
from sockact.supervisor.hooks.runner import HookRunner
from sockact.supervisor.logs.logs import Logs
from sockact.supervisor.logs.program_logs import ProgramLogs
from sockact.supervisor.logs.rotation import Rotation
from sockact.supervisor.logs.targets import targets
from sockact.supervisor.probes.private_runs import is_private
from sockact.supervisor.processes.hidden_sockets import HiddenSockets
from sockact.supervisor.processes.last_datagrams import LastDatagrams
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls
from sockact.supervisor.processes.termination import Termination
from sockact.supervisor.records.history import History
from sockact.supervisor.records.state_dir import state_dir
from sockact.supervisor.service.announcer import Announcer
from sockact.supervisor.service.endings import Endings
from sockact.supervisor.service.handovers import Handovers
from sockact.supervisor.service.lifecycle import Lifecycle
from sockact.supervisor.service.outcomes import Outcomes
from sockact.supervisor.service.performer import Performer
from sockact.supervisor.service.reports import Reports
from sockact.supervisor.service.shutdown import Shutdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Policy
    from sockact.core.settings import Adopt
    from sockact.handover.lanes import Lanes
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
        self.loop = Loop(Faults(partial(resources.reporter.say, level=report.ERROR)).note)
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
        claim = resources.claim
        self.hidden = HiddenSockets(claim.directory, made=claim.made, resumed=carried is not None)
        self.calls = ShimCalls(
            self.loop,
            self.shim_address,
            self.processes.generation_of,
            self.generations.where,
            self.generations.looks,
            self.hidden,
            carried,
        )
        self.termination = self._make_termination(resources.listeners)
        self.hooks = HookRunner(self.loop)
        self.logs = Logs(self.loop, targets(settings), resources.notice, show)
        reopening = ProgramLogs(
            self.loop, self.processes, self.calls, self.generations.reopen_signal_of
        )
        self.rotation = Rotation(reopening, (self.logs,))
        self.shutdown = Shutdown(self.loop, self.hooks, self.logs)

    def _make_termination(self, listeners: list[Listener]) -> Termination:
        datagrams = {x.inode for x in listeners if x.address.kind is Kind.DATAGRAM}
        return Termination(
            self.loop,
            self.processes,
            self.calls,
            LastDatagrams(self.loop, self.retry, self.processes, datagrams) if datagrams else None,
            self.generations.stop_signal_of,
            self.reports.say,
        )


class LifecycleParts:
    """The lifecycle, and the parts that send events to it or perform its actions."""

    def __init__(
        self,
        resources: Resources,
        lanes: Lanes,
        base: BaseParts,
        adopt: Adopt,
        show: Callable[[], None],
    ) -> None:
        """`adopt` is the way of adopting; never AUTO. `show` as for BaseParts."""
        loop, listeners = base.loop, resources.listeners
        private = partial(is_private, lanes)
        policy = policy_of(resources.settings, private)
        self._base, self._show = base, show
        self.lifecycle = Lifecycle(policy, loop, base.retry, lambda: self.performer)
        self.lending = Lending(
            loop,
            lanes,
            lambda: self.lifecycle.service,
            base.reports.say,
            base.history.ledger.unaccepted,
            strict=resources.settings.lanes is LaneUse.REQUIRE,
        )
        self.accept_watch = AcceptWatch(
            loop, base.processes, self.lending.listeners_of, self._who_accepts, self._deaf
        )
        self._notice = partial(resources.notice, news=News.LISTENER)
        self.listener_watch = ListenerWatch(
            loop,
            listeners,
            self._is_wanted,
            self._hung_up,
            lanes.stopped,
            lanes.listens_again,
            lambda: lanes.steer(lanes.split),
        )
        self.gates = self._make_gates(listeners)
        self.drains = self._make_drains(listeners, policy)
        self.context = self._make_context(adopt, listeners)
        self.handovers = Handovers(
            self.lifecycle,
            base.settings,
            base.generations,
            base.history,
            base.outcomes,
            base.announcer,
            private,
            self.lending.why_shared,
        )
        self.endings = self._make_endings(listeners)
        self.performer = self._make_performer()

    def _make_context(self, adopt: Adopt, listeners: list[Listener]) -> Context:
        base = self._base
        return Context(
            base.settings,
            adopt,
            base.loop,
            listeners,
            self.lending,
            base.processes,
            base.environment,
            base.shim_address,
            base.calls.location(),
            base.hidden,
            base.logs,
            LockFiles(lambda pid: base.processes.generation_of(pid) is not None),
            self._heard,
            base.reports.report_unlisted,
            base.reports.report_unknown_version,
            self._version_known,
            self._shut_down,
        )

    def _make_gates(self, listeners: list[Listener]) -> Gates:
        base = self._base
        return Gates(
            base.processes,
            base.calls,
            listeners,
            LaneGates(self.lending, self._gate_moved),
            AdmissionGates(base.loop, self.lending, self._gate_moved),
            self._gate_moved,
            base.reports.report_adapter,
        )

    def _make_drains(self, listeners: list[Listener], policy: Policy) -> DrainCensus:
        base = self._base
        return DrainCensus(
            base.loop,
            base.processes,
            self.gates,
            WebSockets(self.gates.orders),
            listeners,
            policy,
            base.generations.rules_of,
            self.lifecycle.gate_is_closed,
            self.lifecycle.handle,
            base.reports.say,
        )

    def _make_endings(self, listeners: list[Listener]) -> Endings:
        base = self._base
        return Endings(
            self.lifecycle,
            base.loop,
            base.retry,
            self.gates,
            self.drains,
            Decoys(base.loop, self.gates.orders, listeners),
            base.termination,
            base.history.ledger,
        )

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
            self.endings,
            schedule,
            self.handovers,
            base.outcomes,
            base.announcer,
            base.history,
            base.reports,
            base.shutdown,
            self.listener_watch,
            self._show,
        )

    def _heard(self, event: Event) -> None:
        """Handle an event of a generation. One that nobody can connect to is not ready."""
        if isinstance(event, events.Interest | events.Proven | events.TrialPassed) and (
            trouble := self.listener_watch.repair_all()
        ):
            on_trial = isinstance(event, events.TrialPassed)
            failed = events.TrialFailed if on_trial else events.Unreachable
            event = failed(event.number, trouble)
        self.lifecycle.handle(event)

    def _is_wanted(self, listener: Listener) -> bool:
        """Whether to listen again on a listener that a program has shut down."""
        return not listener.owned or self.lifecycle.service.phase is not Phase.STOPPING

    def _hung_up(self, message: str) -> None:
        """Report that a listener was shut down; the program may have given it up over that."""
        self._notice(message)
        self.accept_watch.suspect()

    def _shut_down(self, number: int) -> None:
        """Take note that generation `number` has tried to shut a listener down."""
        if self.lifecycle.is_stopping():
            # No generation will serve any more: refuse clients instead of letting them wait.
            self.listener_watch.shut_owned()
        elif number == self._who_accepts():
            self.accept_watch.suspect()

    def _who_accepts(self) -> int | None:
        """Return the generation that has to accept connections; None while that may change."""
        service = self.lifecycle.service
        serves = service.phase is Phase.SERVING and not service.is_paused
        running = service.only(State.RUNNING) if serves else ()
        return running[0].number if running and running[0].exit is None else None

    def _deaf(self, number: int, listener: Listener) -> None:
        """Replace a generation that has stopped accepting although it should serve."""
        message = f"no longer accepting connections on {listener.address}; replacing it"
        self._base.reports.say(number, message, report.ERROR, News.STUCK)
        self.handovers.replace("watchdog")

    def _gate_moved(self, number: int, gate: Gate, reason: str) -> None:
        """Handle the end of an order to move the gate of generation `number`."""
        g = self.lifecycle.service.get(number)
        if g is not None and (g.gate, gate, g.state) == (Gate.NONE, Gate.CLOSED, State.DRAINING):
            seconds = time.monotonic() - g.since
            message = f"no longer accepting connections; that took {seconds:.1f} s"
            self._base.reports.say(number, message, report.NOTICE, News.GATE)
        if gate is Gate.NONE:
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
