"""Facts become events, core/lifecycle/machine decides, its actions are performed here."""

from __future__ import annotations

import socket
import time
from functools import partial

from sockact.core.errors import OperatorError
from sockact.core.lifecycle import actions, events
from sockact.core.lifecycle.model import Gate, Outcome, Phase
from sockact.core.lifecycle.stop import STOPPING
from sockact.core.lifecycle.trial import BY_HAND
from sockact.core.matching import Kind
from sockact.core.message_kinds import News
from sockact.core.record import replace
from sockact.handover import census
from sockact.kernel.sockets.listener import clear_nonblocking
from sockact.supervisor.base import report
from sockact.supervisor.gates.drain_census import Counting
from sockact.supervisor.gates.gates import Gates
from sockact.supervisor.gates.revival import ListenersWatch
from sockact.supervisor.generations.context import Context
from sockact.supervisor.generations.launched import Launched
from sockact.supervisor.hooks.schedule import Hooking
from sockact.supervisor.logs.logs import Logs
from sockact.supervisor.logs.reopening import Reopening
from sockact.supervisor.logs.rotation import Rotation
from sockact.supervisor.logs.states import targets
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import Calls
from sockact.supervisor.processes.termination import Ending
from sockact.supervisor.service.policy import policy_of
from sockact.supervisor.service.state import Stepping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.lifecycle.hooks import Due
    from sockact.core.lifecycle.model import Exit, Handover, Policy
    from sockact.core.matching import Address
    from sockact.core.settings import Adopt, Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.records.carried import CarriedEngine
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer

    class Watch(Protocol):
        """Something that starts processes of its own."""

        def reaped(self, pid: int, exit: Exit) -> None:
            """A child has ended that is no program: perhaps one of these."""


_OTHERS_FIRST = 0.005
_GONE_AGAIN = 0.05
_NO_FAILURES = (STOPPING, BY_HAND)
"""Reasons of a handover that came to nothing, for which the program is not to blame."""


class Engine(Stepping):
    """One service: its state, and everything that is done about it.

    `carried` is of the supervisor whose place we take; `take_over` has to follow.
    """

    exit_status: int | None = None
    _shut = False

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        adopt: Adopt,
        listeners: list[Listener],
        environment: dict[str, str],
        loop: Loop,
        announcer: Announcer,
        reporter: Reporter,
        shim_address: str,
        history: History,
        carried: CarriedEngine | None = None,
    ) -> None:
        super().__init__(policy, loop, announcer, reporter, history)
        self._listeners = listeners
        self._processes = Processes(shim_address)
        self._ending = Ending(self._processes, self._stop_signal_of, self._say)
        listening = carried.calls if carried else None
        self._calls = Calls(loop, shim_address, self._generation_of, self._where, listening)
        notice = partial(self._say, level=report.NOTICE, news=News.ADAPTER)
        self._gates = Gates(self._processes, self._calls, listeners, self._gate_moved, notice)
        self._logs = Logs(loop, targets(settings), self._notice)
        reopening = Reopening(loop, self._processes, self._calls, self._reopen_signal_of)
        self.rotation = Rotation(reopening)
        self.rotation.parts.append(self._logs)
        self._context = Context(
            *(settings, adopt, loop, listeners, self._processes, environment, shim_address),
            self.handle,
            self._logs,
            self._version_unknown,
            self._version_known,
        )
        self._hooking = Hooking(self._context, self._launched, history.ledger, self._say)
        self._listeners_watch = ListenersWatch(
            loop, listeners, self._to_listen, partial(self._notice, news=News.LISTENER)
        )
        self._counting = Counting(
            loop, self._processes, self._gates, listeners, policy, self._take_census, self._say
        )
        self._stop_waiting: list[Callable[[], None]] = []
        self._watches: list[Watch] = [self._logs, self._hooking.hooks]
        self._version_notice = ""

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Spawn(number):
                self._spawn(number)
            case actions.StartProbe(number):
                self._launched[number].probe()
            case actions.StartTrial(number):
                self._launched[number].on_trial()
            case actions.MoveGate(number, closed):
                if not closed:
                    self._counting.forget(number)  # It may have drained until now.
                (self._gates.close if closed else self._gates.open)(number)
            case actions.LastResponses(number):
                # Perhaps another generation is to open its gate: its shims ask how in a moment, and
                # clients wait for that.
                soon = time.monotonic() + _OTHERS_FIRST
                self._loop.at(soon, partial(self._last_responses, number))
            case actions.KeepConnections(number):
                self._gates.keep_connections(number)
            case actions.TakeCensus(number):
                self._take_census(number)
            case actions.Terminate(number, reason):
                self._counting.forget(number)
                if reason and reason != actions.IDLE:
                    self._count_forced(number)
                self._ending.terminate(number, reason)
            case actions.Kill(number, reason):
                self._ending.kill(number, reason)
            case _:
                self._tell(action)

    def _tell(self, action: actions.Action) -> None:
        """The actions that only pass news on."""
        match action:
            case actions.Announce(phase):
                self._announcer.phase(phase, self._service)
            case actions.Finish(handover):
                self._finish(handover)
            case actions.Drained(number):
                self._say(number, "drained", news=News.DRAINED)
            case actions.Report(number, message, error, news):
                self._say(number, message, report.ERROR if error else report.NOTICE, news)
                if error:
                    self._history.failed(number, message)
            case actions.Quit(status):
                self._quit(status)

    def _stop_signal_of(self, number: int) -> int:
        return self._settings_of(number).stop_signal

    def _reopen_signal_of(self, number: int) -> int:
        return self._settings_of(number).reopen_signal

    def _settings_of(self, number: int) -> Settings:
        return (self._launched.get(number) or self._context).settings

    def _spawn(self, number: int) -> None:
        if len(self._service.generations) == 1:
            # Nobody else has the listeners: a program that blocks in accept may do so.
            for listener in self._listeners:
                clear_nonblocking(listener)
        try:
            launched = Launched.start(self._context, number, capture=self._service.in_handover)
        except (OperatorError, OSError) as error:
            self.handle(events.LaunchFailed(number, str(error)))
            self.handle(events.Gone(number))
            return
        self._launched[number] = launched
        self._announcer.launched(launched.pid)

    def _finish(self, handover: Handover) -> None:
        # Not self._service.handover: that may be the next one already.
        if handover.outcome is Outcome.FAILED and handover.reason not in _NO_FAILURES:
            self._history.failed(handover.successor, handover.reason)
        elif handover.outcome is Outcome.COMMITTED and not handover.rollback:
            self._history.mended()
        predecessor = self._service.get(handover.predecessor or 0)
        successor = self._launched.get(handover.successor)
        if handover.outcome is Outcome.COMMITTED and successor:
            self._context.served = successor.settings
        self.use(self._context.served)
        self._callers.finished(handover, successor, predecessor)

    def use(self, settings: Settings) -> None:
        """From now on, and for the next generation."""
        if settings is not self._context.settings:
            self._context.settings = settings
            self._service = replace(self._service, policy=policy_of(settings))
            self._history.limit(settings.start_limit_interval, settings.start_limit_burst)

    def _follow(self, hooks: tuple[Due, ...]) -> None:
        self._hooking.follow(hooks, self._service)

    def _version_unknown(self, number: int, message: str) -> None:
        if message != self._version_notice:
            self._version_notice = message
            self._say(number, message, report.NOTICE)

    def _version_known(self, number: int) -> None:
        g = self._service.get(number)
        if g is not None and g.introduced and (version := self._version_of(number)):
            self._say(number, f"version {version}")
        self._hooking.hooks.look(number)
        self.changed()

    def _quit(self, status: int) -> None:
        self._hooking.hooks.when_idle(partial(self._end, status))

    def _end(self, status: int) -> None:
        self.exit_status = status
        self._logs.end(self._leave)

    def _leave(self) -> None:
        for done in self._stop_waiting:
            done()
        self._stop_waiting.clear()
        self._loop.stop()

    # Facts.

    def _reap(self) -> None:
        reaped = False
        for pid, generation, exit in self._processes.reap():
            reaped = True
            self._calls.forget(pid, "the process has ended")
            for launched in tuple(self._launched.values()):
                launched.reaped(pid, exit)
            for watch in self._watches:
                watch.reaped(pid, exit)
            if generation is not None:
                self._announcer.ended(pid)
                if found := self._launched.get(generation):
                    found.hear()
                self.handle(events.Exited(generation, exit))
        if reaped:
            self._look_for_gone()

    def _look_for_gone(self) -> None:
        self._postponed.attempt("gone", self._handle_gone)

    def _handle_gone(self) -> None:
        gone = self._processes.gone(self._launched)
        if gone is None:
            self._loop.at(time.monotonic() + _GONE_AGAIN, self._look_for_gone)
            return
        for number in sorted(gone):
            self._gates.forget(number)
            self._counting.forget(number)
            self._ending.forget(number)
            self._listeners_watch.look()
            self.handle(events.Gone(number, self._processes.failure(number)))
            # Not before: whoever asked for it gets the end of its stderr.
            self._launched.pop(number).close()
            self._callers.gone(number)

    def _to_listen(self, listener: Listener) -> bool:
        """A program has shut it down: are clients still to come in?"""
        return not listener.owned or self._service.phase is not Phase.STOPPING

    def _take_census(self, number: int) -> None:
        g = self._service.get(number)
        closed = g is not None and g.gate is Gate.CLOSED
        self.handle(self._counting.count(number, closed))

    def _count_forced(self, number: int) -> None:
        """It is told to end whatever it has: how many connections does that cut off?"""
        pids = self._processes.latest().get(number, [])
        try:
            found = census.count({number: pids}, self._listeners)
        except OSError:
            found = None
        if found:  # Else the kernel does not tell. It has to end all the same.
            self._history.ledger.forced(number, found[number].busy + found[number].fresh)

    def _last_responses(self, number: int) -> None:
        g = self._service.get(number)
        if g is not None and g.last_responses:
            self._gates.last_responses(number)

    def _gate_moved(self, number: int, gate: Gate, reason: str) -> None:
        if gate is Gate.NONE:
            self._say(number, f"its gate cannot be moved: {reason}", report.NOTICE, News.GATE)
        self.handle(events.GateMoved(number, gate, reason))
        if gate is Gate.CLOSED and self._service.phase is Phase.STOPPING:
            self._shut_own_listeners()

    def _shut_own_listeners(self) -> None:
        """Nobody will accept any more: refuse new clients at once instead of at the very end."""
        if self._shut or any(g.gate is not Gate.CLOSED for g in self._service.generations):
            return
        self._shut = True
        for listener in self._listeners:
            if listener.owned and listener.address.kind is Kind.STREAM:
                self._listeners_watch.release(listener)
                listener.socket.shutdown(socket.SHUT_RD)

    def _generation_of(self, pid: int) -> int | None:
        found = self._processes.latest()
        return next((number for number, pids in found.items() if pid in pids), None)

    def _where(self, generation: int, wanted: Address) -> Listener | str | None:
        launched = self._launched.get(generation)
        return launched.where(wanted) if launched else None
