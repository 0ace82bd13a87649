"""One step of the lifecycle under way: what follows for the service.

Built on Moves. Its methods are what the event handlers are made of.
"""

from __future__ import annotations

from sockact.core.lifecycle.actions import (
    Announce,
    Finish,
    Quit,
    Report,
    StartProbe,
    StartTrial,
)
from sockact.core.lifecycle.backoff import backoff, spread
from sockact.core.lifecycle.model import Gate, Generation, Handover, Outcome, Phase, State
from sockact.core.lifecycle.moves import Moves
from sockact.core.news import News
from sockact.core.record import replace

STOPPING = "the service is stopping"


class Turn(Moves):
    """The moves of the whole service in one step."""

    # A generation becomes the one that serves, or is lost.

    def run(self, g: Generation) -> None:
        """It serves: for good, or on trial as long as its predecessor can be brought back."""
        predecessor = self.state.serving
        g = replace(g, state=State.RUNNING, since=self.now, start_deadline=None, settle_at=None)
        tried = self.state.policy.trial or "running" in g.hooks
        if predecessor is None or not self.state.in_handover or not tried:
            g = replace(g, introduced=True)
            self.update(g)
            self.commit(g, predecessor)
            return
        if predecessor.state is State.PAUSED:
            self.begin_trial(g)
        else:
            # It begins when the gate has moved, which has a deadline of its own.
            policy = self.state.policy
            until = self.now + policy.gate_timeout + policy.trial
            self.update(replace(g, trial_until=until))
            self.pause(predecessor)

    def begin_trial(self, g: Generation) -> None:
        """From now on it serves alone, as far as that can be had."""
        hook_until = g.hook_until
        if "running" in g.hooks and not g.introduced:
            hook_until = self.now + self.state.policy.hook_bound
        until = self.now + self.state.policy.trial
        self.update(replace(g, trial_until=until, introduced=True, hook_until=hook_until))
        self.do(StartTrial(g.number))

    def commit(self, g: Generation, predecessor: Generation | None) -> None:
        """From here on it serves for good, and its predecessor is not needed any more."""
        if predecessor is not None:
            self.retire(predecessor)
        if self.state.in_handover:
            self.finish(Outcome.COMMITTED)
        else:
            self.do(Report(g.number, "serves", news=News.SERVES))
        self.settle_phase()

    def retire(self, g: Generation) -> None:
        """A successor serves: drain it, or keep it for a rollback first."""
        self.release_kept()
        if not self.state.policy.keep_predecessor:
            self.drain(g)
            return
        until = self.now + self.state.policy.keep_predecessor
        self.close_gate(replace(g, state=State.PAUSED, since=self.now, keep_until=until))
        self.last_responses(g.number)

    def fail(self, g: Generation, reason: str) -> None:
        """It never became ready, or it died: end what is left of it, and see what follows."""
        self.end(g)
        self.lost(g, reason)

    def lost(self, g: Generation, reason: str) -> None:
        """A pending or serving generation is no more: what follows for the service?"""
        handover = self.state.handover
        if handover and self.state.in_handover and handover.successor == g.number:
            self.take_back(reason)
            return
        if self.state.phase is Phase.STOPPING:
            return
        self.do(Report(g.number, reason, error=True, news=News.FAILED))
        if self.state.phase is Phase.STARTING:
            status = g.exit.status if g.exit else 1 if g.bound else 2
            self.give_up(status)
        elif successor := self.state.on_trial:
            # Nothing to go back to; it has to be watched all the same.
            if g.gate is Gate.CLOSING:
                self.begin_trial(successor)
        elif self.state.in_handover:
            self._probe_without_predecessor()
        elif self.state.serving is None:
            self.replace_lost()

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
        serving = self.state.serving
        stopping = self.state.phase is Phase.STOPPING
        if serving is not None and serving.state is State.PAUSED and not stopping:
            self.resume(serving)  # First of all: clients wait.
        self.finish(Outcome.FAILED, reason)
        if stopping:
            return
        if serving is None:
            self.replace_lost()
        else:
            self.settle_phase()

    def replace_lost(self) -> None:
        """Nothing serves: go back to the generation that was kept for that, or launch again."""
        if kept := self.state.kept:
            self.resume(kept)
            self.do(Report(kept.number, "serves again", error=True, news=News.SERVES_AGAIN))
            self.settle_phase()
        else:
            self.respawn()

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
            wait = spread(wait, policy.jitter, policy.seed, self.state.last_number)
            self.state = replace(self.state, respawn_at=self.now + wait)
        else:
            self.spawn()

    def finish(self, outcome: Outcome, reason: str = "") -> None:
        """The handover under way has its outcome."""
        assert self.state.handover
        predecessor = self.state.get(self.state.handover.predecessor or 0)
        handover = replace(
            self.state.handover,
            outcome=outcome,
            reason=reason,
            finished=self.now,
            drained=predecessor is None,
            kept=predecessor is not None and predecessor.keep_until is not None,
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
        self.release_kept()
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

    def enter(self, phase: Phase) -> None:
        if self.state.phase is not phase:
            self.state = replace(self.state, phase=phase)
            self.do(Announce(phase))
