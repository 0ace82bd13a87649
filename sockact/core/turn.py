"""One step of the lifecycle under way: the moves that its event handlers are made of.

A Turn carries the state so far and the actions so far. Each method keeps the service consistent: it
changes the state and asks for the matching action in the same breath.
"""

from __future__ import annotations

from dataclasses import replace

from sockact.core.actions import (
    Announce,
    Finish,
    Kill,
    LastResponses,
    MoveGate,
    Quit,
    Report,
    Spawn,
    StartProbe,
    Terminate,
)
from sockact.core.limits import backoff
from sockact.core.model import (
    Gate,
    Generation,
    Handover,
    Outcome,
    Phase,
    Ready,
    Service,
    State,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.actions import Action

STOPPING = "the service is stopping"


class Turn:
    """The state and the actions of one step."""

    def __init__(self, state: Service, now: float) -> None:
        self.state = state
        self.now = now
        self.actions: list[Action] = []

    def do(self, *actions: Action) -> None:
        self.actions += actions

    def update(self, generation: Generation) -> None:
        """Put a generation's new facts into the list."""
        generations = tuple(
            generation if g.number == generation.number else g for g in self.state.generations
        )
        self.state = replace(self.state, generations=generations)

    def remove(self, number: int) -> None:
        generations = tuple(g for g in self.state.generations if g.number != number)
        self.state = replace(self.state, generations=generations)

    def enter(self, phase: Phase) -> None:
        if self.state.phase is not phase:
            self.state = replace(self.state, phase=phase)
            self.do(Announce(phase))

    # A generation's ways.

    def spawn(self) -> int:
        """Launch the next generation."""
        number = self.state.last_number + 1
        deadline = self.now + self.state.policy.start_timeout
        generation = Generation(number, State.PENDING, self.now, start_deadline=deadline)
        self.state = replace(
            self.state,
            last_number=number,
            generations=(*self.state.generations, generation),
            respawn_at=None,
        )
        self.do(Spawn(number))
        return number

    def run(self, g: Generation) -> None:
        """It serves. Its predecessor, if there is one, starts to drain."""
        predecessor = self.state.serving
        self.update(
            replace(g, state=State.RUNNING, since=self.now, start_deadline=None, settle_at=None)
        )
        if predecessor is not None:
            self.drain(predecessor)
        if self.state.in_handover:
            self.finish(Outcome.COMMITTED)
        else:
            self.do(Report(g.number, "serves"))
        self.settle_phase()

    def pause(self, g: Generation) -> None:
        """Close its gate for as long as its successor is probed."""
        self.close_gate(replace(g, state=State.PAUSED))

    def resume(self, g: Generation, reason: str = "") -> None:
        """The trial is over, or could not begin: whatever was closed of its gate opens."""
        self.update(
            replace(
                g, state=State.RUNNING, gate=Gate.OPENING, gate_reason=reason, gate_deadline=None
            )
        )
        self.do(MoveGate(g.number, closed=False))

    def close_gate(self, g: Generation) -> None:
        """Order it closed, unless it is or the order is out."""
        if g.gate is Gate.CLOSED:
            self.update(g)
            return
        ordered = g.gate is Gate.CLOSING
        deadline = g.gate_deadline if ordered else self.now + self.state.policy.gate_timeout
        self.update(replace(g, gate=Gate.CLOSING, gate_deadline=deadline))
        if not ordered:
            self.do(MoveGate(g.number, closed=True))

    def drain(self, g: Generation) -> None:
        """Take no more connections, serve those that are there, then end."""
        self.close_gate(
            replace(
                g,
                state=State.DRAINING,
                since=self.now,
                census_at=self.now if g.gate is Gate.CLOSED else None,
                drain_deadline=self.now + self.state.policy.drain_timeout,
                start_deadline=None,
                settle_at=None,
            )
        )
        self.do(LastResponses(g.number))

    def terminate(self, g: Generation, reason: str) -> None:
        """Ask it to end; SIGKILL follows at the kill timeout."""
        self.update(_ending(g, self.now + self.state.policy.kill_timeout))
        self.do(Terminate(g.number, reason))

    def fail(self, g: Generation, reason: str) -> None:
        """It never became ready, or it died: end what is left of it, and see what follows."""
        pending = g.state is State.PENDING
        if pending and g.exit is None and self._may_have_accepted(g):
            # During its trial, say. Whoever it was refuses nobody whom it has accepted.
            self.drain(g)
        else:
            failed = _ending(g, self.now + self.state.policy.kill_timeout)
            self.update(replace(failed, state=State.FAILED, since=self.now))
            # Other processes of a crashed generation may be in the middle of an answer; those
            # of one that never accepted have nothing to finish.
            idle = pending and not self._may_have_accepted(g)
            self.do(Kill(g.number) if idle else Terminate(g.number))
        self.lost(g, reason)

    def _may_have_accepted(self, g: Generation) -> bool:
        return g.interested or (self.state.policy.ready is Ready.NOTIFY and g.bound)

    def lost(self, g: Generation, reason: str) -> None:
        """A pending or serving generation is no more: what follows for the service?"""
        pending = g.state is State.PENDING
        if self.state.in_handover and pending:
            self.take_back(reason)
            return
        if self.state.phase is Phase.STOPPING:
            return
        self.do(Report(g.number, reason, error=True))
        if self.state.phase is Phase.STARTING:
            status = g.exit.status if g.exit else 1 if g.bound else 2
            self.give_up(status)
        elif self.state.in_handover:
            self._probe_without_predecessor()
        else:
            self.respawn()

    def _probe_without_predecessor(self) -> None:
        successor = self.state.pending
        if successor is not None and successor.interested and successor.settle_at is None:
            self.do(StartProbe(successor.number))

    # The service's ways.

    def begin_handover(self, identity: int) -> None:
        predecessor = self.state.serving
        successor = self.spawn()
        number = predecessor.number if predecessor else None
        self.state = replace(
            self.state, handover=Handover(identity, self.now, number, successor), queued=None
        )
        self.enter(Phase.RELOADING)

    def take_back(self, reason: str) -> None:
        """The successor failed: whoever served before goes on."""
        self.finish(Outcome.FAILED, reason)
        if self.state.phase is Phase.STOPPING:
            return
        serving = self.state.serving
        if serving is None:
            self.respawn()
            return
        if serving.state is State.PAUSED:
            self.resume(serving)
        self.settle_phase()

    def respawn(self) -> None:
        """Nothing serves: launch again, at once after the first crash, later after the next."""
        policy = self.state.policy
        self.state = replace(self.state, crashes=self.state.crashes + 1)
        wait = backoff(self.state.crashes, policy.backoff_first, policy.backoff_limit)
        if self.state.queued is not None:
            # Whoever asked for a reload may have mended the program: no reason to wait.
            self.begin_handover(self.state.queued)
            return
        self.enter(Phase.BACKOFF)
        if wait:
            self.state = replace(self.state, respawn_at=self.now + wait)
        else:
            self.spawn()

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """The handover under way has its outcome."""
        assert self.state.handover
        handover = replace(
            self.state.handover,
            outcome=outcome,
            reason=reason,
            finished=self.now,
            drained=self.state.get(self.state.handover.predecessor or 0) is None,
        )
        self.state = replace(self.state, handover=handover)
        self.do(Finish(handover))

    def settle_phase(self) -> None:
        """A launch has ended one way or the other, and somebody serves."""
        if self.state.phase is Phase.STOPPING:
            return
        # systemd has to hear that the last reload is over before the next one begins.
        self.enter(Phase.SERVING)
        if self.state.queued is not None:
            self.begin_handover(self.state.queued)

    def give_up(self, status: int) -> None:
        """End the service as soon as every process has ended."""
        self.state = replace(self.state, exit_status=status, respawn_at=None)
        self.cancel_handovers()
        self.enter(Phase.STOPPING)
        self.quit_when_empty()

    def cancel_handovers(self) -> None:
        if self.state.in_handover:
            self.finish(Outcome.FAILED, STOPPING)
        if self.state.queued is not None:
            # It never began, but whoever asked for it waits for its outcome, too.
            cancelled = Handover(
                self.state.queued,
                self.now,
                None,
                self.state.last_number + 1,
                Outcome.FAILED,
                STOPPING,
                self.now,
                drained=True,
            )
            self.do(Finish(cancelled))
        self.state = replace(self.state, queued=None)

    def quit_when_empty(self) -> None:
        if self.state.phase is Phase.STOPPING and not self.state.generations:
            self.enter(Phase.STOPPED)
            self.do(Quit(self.state.exit_status))


def _ending(g: Generation, kill_at: float) -> Generation:
    """The generation with SIGKILL as its only deadline."""
    return replace(
        g,
        ending=True,
        start_deadline=None,
        settle_at=None,
        gate_deadline=None,
        census_at=None,
        drain_deadline=None,
        kill_at=kill_at,
    )
