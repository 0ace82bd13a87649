"""Performs the actions of the lifecycle, one case for each. Decides nothing."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from sockact.core import own_connects
from sockact.core.errors import OperatorError
from sockact.core.lifecycle import actions, events
from sockact.core.lifecycle.hooks import due
from sockact.core.lifecycle.model import Gate, Outcome, State
from sockact.core.lifecycle.stop import STOPPING
from sockact.core.lifecycle.trial import BY_HAND
from sockact.core.message_kinds import News
from sockact.core.record import dataclass, replace
from sockact.kernel.procfs import Unavailable
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.model import Handover, Service
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.gates.listener_watch import ListenerWatch
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.generations.live_generation import LiveGeneration
    from sockact.supervisor.hooks.dispatcher import HookDispatcher
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.endings import Endings
    from sockact.supervisor.service.handovers import Handovers
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.outcomes import Outcomes
    from sockact.supervisor.service.reports import Reports
    from sockact.supervisor.service.shutdown import Shutdown

_CENSUS_AGAIN = 1.0
_NO_FAILURES = (STOPPING, BY_HAND)
"""Reasons of failed handovers that are not failures of the program."""


@dataclass
class Performer:
    """Performs steps of the lifecycle: its Follower."""

    _lifecycle: Lifecycle
    _context: Context
    _generations: Generations
    _gates: Gates
    _endings: Endings
    _hooks: HookDispatcher
    _handovers: Handovers
    _outcomes: Outcomes
    _announcer: Announcer
    _history: History
    _reports: Reports
    _shutdown: Shutdown
    _listener_watch: ListenerWatch
    _show: Callable[[], None]
    """Called after each change that `status` shows."""

    def stepped(self, service: Service, actions: Sequence[Action], now: float) -> None:
        """Steer new clients, and record a step before anything of it is reported."""
        try:
            # First of all: until then, clients reach a canary that is being rolled back.
            with suppress(Unavailable):  # `followed` tries again.
                self._context.lending.follow()
        finally:
            self._history.ledger.stepped(service, actions, now)

    def followed(self, before: Service, service: Service, actions: Sequence[Action]) -> None:
        """Stop the watches that a step has made pointless, and run the hooks that are due."""
        for g in service.only(State.DRAINING):
            known = before.get(g.number)
            if known is not None and known.state is not State.DRAINING:
                seconds = service.policy.drain_timeout
                self._reports.say(g.number, f"draining for up to {seconds:g} s")
        self._generations.settle(service)
        self._hooks.follow(due(before, service, tuple(actions)), service)
        self._endings.follow(service)
        self._context.lending.follow()

    def changed(self, service: Service) -> None:
        """Pass on the new state: to systemd, to callers, and to `status`."""
        self._announcer.changed(service)
        self._outcomes.changed(service)
        self._announcer.awaited(service, self._outcomes.awaited())
        self._show()

    def perform(self, action: Action) -> None:
        """Perform an action. May raise procfs.Unavailable."""
        match action:
            case actions.Spawn(number):
                self._spawn(number)
            case actions.StartProbe(number):
                self._generations[number].probe()
            case actions.StartWarmUp(number):
                self._start_warm_up(number)
            case actions.StartTrial(number):
                self._start_trial(number)
            case actions.MoveGate(number, True, hold):
                self._gates.close(number, hold=hold)
            case actions.MoveGate(number):
                self._endings.take_back(number)
            case actions.EndPause(pause):
                self._gates.end_hold()
                self._history.ledger.paused(pause)
            case actions.LastResponses(number):
                self._endings.end_connections_soon(number)
            case actions.KeepConnections(number):
                self._endings.keep_connections(number)
            case actions.TakeCensus(number):
                self._endings.take_census(number)
            case actions.Terminate(number, reason):
                self._endings.terminate(number, reason)
            case actions.Kill(number, reason, cuts_off):
                self._endings.kill(number, reason, cuts_off=cuts_off)
            case _:
                self._report(action)

    def failed(self, action: Action, reason: str) -> None:
        """Handle that an action raised an exception, which is a bug. May raise."""
        match action:
            case actions.Spawn(number):
                self._lifecycle.handle(events.LaunchFailed(number, reason))
                if self._generations.get(number) is None:
                    self._lifecycle.handle(events.Gone(number))
            case actions.StartWarmUp(number):
                self._lifecycle.handle(events.Warmed(number, reason))
            case actions.StartTrial(number):
                self._lifecycle.handle(events.TrialFailed(number, reason))
            case actions.MoveGate(number):
                self._lifecycle.handle(events.GateMoved(number, Gate.NONE, reason))
            case actions.TakeCensus(number):
                self._lifecycle.handle(events.Census(number, 1, 0, 0, look_in=_CENSUS_AGAIN))
            case actions.Terminate() | actions.Kill() | actions.Quit():
                self.perform(action)  # Nothing else would end the generation, or the service.

    def _report(self, action: Action) -> None:
        """Perform an action that only reports something."""
        match action:
            case actions.Announce(phase):
                self._announcer.phase(phase, self._lifecycle.service)
            case actions.Finish(handover):
                self._finish(handover)
            case actions.Drained(number):
                self._reports.say(number, "drained", news=News.DRAINED)
            case actions.Report(number, message, error, news):
                self._reports.say(number, message, report.ERROR if error else report.NOTICE, news)
                if error:
                    self._history.failed(number, message)
            case actions.Quit(status):
                self._shutdown.quit(status)

    def _spawn(self, number: int) -> None:
        launched = self._generations.get(number)
        if launched:
            # The first one, which is starting already. It is not ready before they are repaired.
            self._listener_watch.repair_all()
        else:
            launched = self._launch(number)
            if launched is None:
                return
        launched.find_version()  # Last, so that the program need not wait for it.
        self._announcer.launched(launched.pid)
        entry = self._history.ledger.entry(number)
        self._reports.say(number, f"starting (reload: {entry.cause})" if entry else "starting")

    def _launch(self, number: int) -> LiveGeneration | None:
        """Launch a generation; None if it fails. Raises Unavailable."""
        # For want of descriptors, we are called again.
        trouble = self._listener_watch.try_to_repair_all()
        capture = self._lifecycle.service.in_handover
        try:
            if trouble:
                raise OperatorError(trouble)
            return self._generations.launch(self._context, number, capture=capture)
        except (OperatorError, OSError) as error:
            self._lifecycle.handle(events.LaunchFailed(number, str(error)))
            self._lifecycle.handle(events.Gone(number))
            return None

    def _start_warm_up(self, number: int) -> None:
        seconds = self._lifecycle.service.policy.warm
        self._reports.say(number, f"ready; warming up for up to {seconds:g} s")
        launched = self._generations[number]
        launched.proving.start_warm_up(launched.settings)

    def _start_trial(self, number: int) -> None:
        launched = self._generations[number]
        launched.proving.start_trial(launched.settings)
        # Without a time, it only waits for its hook.
        if seconds := self._lifecycle.service.policy.trial:
            self._reports.say(number, f"ready; on trial for {seconds:g} s")

    def _finish(self, handover: Handover) -> None:
        # Not `service.handover`, which may be the next one already.
        successor = self._generations.get(handover.successor)
        # The generation that has lost: its options are on the listeners.
        lost = handover.predecessor if handover.rollback else handover.successor
        committed = handover.outcome is Outcome.COMMITTED
        if committed is handover.rollback and (loser := self._generations.get(lost or 0)):
            loser.restore_options()
        self._handovers.settle(handover, successor)
        if handover.outcome is Outcome.FAILED:
            g = self._lifecycle.service.get(handover.successor)
            ended = g is None or bool(g.exit and g.exit.code)
            looked = successor is not None and successor.may_have_looked
            failed = partial(self._failed, handover, ended, looked)
            failed([]) if successor is None else successor.last_lines(failed)
            return
        if not handover.rollback:
            self._history.reload_succeeded()
        predecessor = self._lifecycle.service.get(handover.predecessor or 0)
        self._outcomes.finished(handover, predecessor)

    def _failed(self, handover: Handover, ended: bool, looked: bool, lines: list[str]) -> None:
        """Report a failed handover, with the cause that its successor has written. `looked`: it may
        have found its address in use.
        """
        if handover.reason not in _NO_FAILURES:
            if not handover.rollback:
                from sockact.core.history import cause

                reason = cause.with_cause(handover.reason, lines, ended=ended)
                if looked and ended and own_connects.tell(lines):
                    reason = f"{reason}; {own_connects.ADVICE}"
                handover = replace(handover, reason=reason)
            self._history.refused(handover)
        self._outcomes.failed(handover, lines)
        self._lifecycle.handle(events.Explained(handover.id, handover.reason))
