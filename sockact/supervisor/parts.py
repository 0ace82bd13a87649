"""The parts of a supervisor, made in the order in which they need each other.

launching.py has those that a launch needs. `BaseParts` need no lifecycle either. `LifecycleParts`
are the lifecycle and the parts that send events to it or perform its actions. assembly.py adds the
parts that are asked from outside.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.core.history.failures import Window
from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Gate, Phase, State
from sockact.core.matching import Kind
from sockact.core.message_kinds import News
from sockact.core.settings import MoveUse
from sockact.supervisor.base import report
from sockact.supervisor.base.policy import policy_of
from sockact.supervisor.base.retry import Retry
from sockact.supervisor.gates.admission_gates import AdmissionGates
from sockact.supervisor.gates.closings import Closings
from sockact.supervisor.gates.decoys import Decoys
from sockact.supervisor.gates.drain_census import DrainCensus
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.lane_gates import LaneGates
from sockact.supervisor.gates.websockets import WebSockets
from sockact.supervisor.generations.accept_watch import AcceptWatch
from sockact.supervisor.hooks.dispatcher import HookDispatcher
from sockact.supervisor.hooks.runner import HookRunner
from sockact.supervisor.logs.program_logs import ProgramLogs
from sockact.supervisor.logs.rotation import Rotation
from sockact.supervisor.probes.private_runs import is_private
from sockact.supervisor.processes.last_datagrams import LastDatagrams
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
    from collections.abc import Callable, Collection

    from sockact.core.lanes.unaccepted import Unaccepted
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Policy
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.launching import LaunchParts
    from sockact.supervisor.moving.moving import Moving
    from sockact.supervisor.records.carried_state import CarriedProgram
    from sockact.supervisor.resources import Resources


class BaseParts:
    """The parts that no launch needs, and that need no lifecycle."""

    def __init__(
        self,
        resources: Resources,
        launching: LaunchParts,
        carried: CarriedProgram | None,
        troubles: Callable[[], str],
    ) -> None:
        """`troubles` returns the end of systemd's status line."""
        settings, loop, generations = resources.settings, launching.loop, launching.generations
        self._launching = launching
        self.history = History(
            state_dir(settings.name, launching.environment),
            Window(settings.start_limit_interval, settings.start_limit_burst),
            resources.notice,
            carried=carried.history if carried else None,
            version_of=generations.version_of,
        )
        self.reports = Reports(resources.reporter, self.history.ledger, generations)
        self.announcer = Announcer(loop, resources.notifier, resources.notice, troubles)
        self.outcomes = Outcomes(self.reports.say)
        self.retry = Retry(loop, resources.notice)
        self.termination = self._make_termination(resources.listeners)
        self.hooks = HookRunner(loop)
        reopening = ProgramLogs(
            loop, launching.processes, launching.calls, generations.reopen_signal_of
        )
        self.rotation = Rotation(reopening, (launching.logs,))
        self.shutdown = Shutdown(loop, self.hooks, launching.logs)

    def _make_termination(self, listeners: list[Listener]) -> Termination:
        launching = self._launching
        loop, processes = launching.loop, launching.processes
        datagrams = {x.inode for x in listeners if x.address.kind is Kind.DATAGRAM}
        return Termination(
            loop,
            processes,
            launching.calls,
            LastDatagrams(loop, self.retry, processes, datagrams) if datagrams else None,
            launching.generations.stop_signal_of,
            self.reports.say,
        )


class LifecycleParts:
    """The lifecycle, and the parts that send events to it or perform its actions."""

    def __init__(
        self,
        resources: Resources,
        launching: LaunchParts,
        base: BaseParts,
        show: Callable[[], None],
    ) -> None:
        """`show` is called after each change that `status` shows."""
        loop, listeners, lending = launching.loop, resources.listeners, launching.lending
        private = partial(is_private, lending.lanes)
        policy = policy_of(resources.settings, private)
        self._launching, self._base, self._show = launching, base, show
        self.reports = base.reports
        self.lifecycle = Lifecycle(policy, loop, base.retry, lambda: self.performer)
        if lending.lanes.lost:
            self.unaccepted(lending.lanes.lost)
        self._accept_watch = AcceptWatch(
            loop, launching.processes, lending.listeners_of, self._who_accepts, self._deaf
        )
        self.gates = self._make_gates(listeners)
        self._closings = self._make_closings()
        self.moving = self._make_moving()
        self.drains = self._make_drains(listeners, policy)
        self.handovers = Handovers(
            self.lifecycle,
            launching.settings,
            launching.generations,
            base.history,
            base.outcomes,
            base.announcer,
            private,
            lending.why_shared,
        )
        self.endings = self._make_endings(listeners)
        self.performer = self._make_performer()

    def _make_gates(self, listeners: list[Listener]) -> Gates:
        launching = self._launching
        return Gates(
            launching.processes,
            launching.calls,
            listeners,
            LaneGates(launching.lending, self._gate_moved),
            AdmissionGates(launching.loop, launching.lending, self._gate_moved),
            self._gate_moved,
            self.reports.report_adapter,
        )

    def _make_closings(self) -> Closings:
        launching = self._launching
        return Closings(
            launching.loop,
            self.gates.orders,
            lambda: launching.settings.next.close_spread,
            self.lifecycle.drain_deadline,
            self.lifecycle.is_stopping,
        )

    def _make_moving(self) -> Moving | None:
        launching = self._launching
        if self._launching.settings.next.move_connections is MoveUse.OFF:
            return None
        from sockact.supervisor.moving.moving import Moving  # Few services have it.

        return Moving(
            launching.loop,
            launching.processes,
            launching.generations,
            launching.lending,
            self.gates.orders,
            launching.calls,
            self._closings.end_connections,
            self.reports.say,
            self._base.history.ledger.moved,
        )

    def _moved(self, number: int) -> Collection[int]:
        return self.moving.moved(number) if self.moving else ()

    def _make_drains(self, listeners: list[Listener], policy: Policy) -> DrainCensus:
        launching = self._launching
        return DrainCensus(
            launching.loop,
            launching.processes,
            self.gates,
            WebSockets(self.gates.orders),
            listeners,
            policy,
            launching.generations.rules_of,
            self._closings.is_spread,
            self._moved,
            self.lifecycle.gate_is_closed,
            self.lifecycle.handle,
            self.reports.say,
        )

    def _make_endings(self, listeners: list[Listener]) -> Endings:
        base, loop = self._base, self._launching.loop
        return Endings(
            self.lifecycle,
            loop,
            base.retry,
            self.gates,
            self._closings,
            self.drains,
            Decoys(loop, self.gates.orders, listeners),
            base.termination,
            base.history.ledger,
            self.moving,
        )

    def _make_performer(self) -> Performer:
        launching, base = self._launching, self._base
        schedule = HookDispatcher(
            base.hooks,
            launching.context,
            launching.generations,
            base.history.ledger,
            self.reports.say,
        )
        return Performer(
            self.lifecycle,
            launching.context,
            launching.generations,
            self.gates,
            self.endings,
            schedule,
            self.handovers,
            base.outcomes,
            base.announcer,
            base.history,
            self.reports,
            base.shutdown,
            launching.listener_watch,
            self._show,
        )

    def heard(self, event: Event) -> None:
        """Handle an event of a generation. One that nobody can connect to is not ready."""
        if isinstance(event, events.Interest | events.Proven | events.TrialPassed) and (
            trouble := self._launching.listener_watch.repair_all()
        ):
            on_trial = isinstance(event, events.TrialPassed)
            failed = events.TrialFailed if on_trial else events.Unreachable
            event = failed(event.number, trouble)
        self.lifecycle.handle(event)

    def suspect(self) -> None:
        """Look whether the generation that should accept connections still does."""
        self._accept_watch.suspect()

    def shut_down(self, number: int) -> None:
        """Take note that generation `number` has tried to shut a listener down."""
        if self.lifecycle.is_stopping():
            # No generation will serve any more: refuse clients instead of letting them wait.
            self._launching.listener_watch.shut_owned()
        elif number == self._who_accepts():
            self.suspect()

    def unaccepted(self, found: Unaccepted) -> None:
        """Count connections that their generation had not accepted."""
        self._base.history.ledger.unaccepted(found)

    def version_known(self, number: int) -> None:
        """Report the version of a generation that a command has printed."""
        g = self.lifecycle.service.get(number)
        version = self._launching.generations.version_of(number)
        if g is not None and g.introduced and version:
            self.reports.say(number, f"version {version}")
        self._base.hooks.look(number)
        self._show()

    def _who_accepts(self) -> int | None:
        """Return the generation that has to accept connections; None while that may change."""
        service = self.lifecycle.service
        serves = service.phase is Phase.SERVING and not service.is_paused
        running = service.only(State.RUNNING) if serves else ()
        return running[0].number if running and running[0].exit is None else None

    def _deaf(self, number: int, listener: Listener) -> None:
        """Replace a generation that has stopped accepting although it should serve."""
        message = f"no longer accepting connections on {listener.address}; replacing it"
        self.reports.say(number, message, report.ERROR, News.STUCK)
        self.handovers.replace("watchdog")

    def _gate_moved(self, number: int, gate: Gate, reason: str) -> None:
        """Handle the end of an order to move the gate of generation `number`."""
        g = self.lifecycle.service.get(number)
        if g is not None and (g.gate, gate, g.state) == (Gate.NONE, Gate.CLOSED, State.DRAINING):
            seconds = time.monotonic() - g.since
            message = f"no longer accepting connections; that took {seconds:.1f} s"
            self.reports.say(number, message, report.NOTICE, News.GATE)
        if gate is Gate.NONE:
            change = "resume" if g is not None and g.gate is Gate.OPENING else "stop"
            message = f"cannot be made to {change} accepting connections: {reason}"
            self.reports.say(number, message, report.NOTICE, News.GATE)
        self.lifecycle.handle(events.GateMoved(number, gate, reason))
        service = self.lifecycle.service
        if service.phase is Phase.STOPPING and all(
            g.gate is Gate.CLOSED for g in service.generations
        ):
            # No generation accepts any more: refuse new clients now, not only at the end.
            self._launching.listener_watch.shut_owned()
