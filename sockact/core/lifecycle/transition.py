"""A step under way: the state and the actions so far.

Each method changes the state and asks for the matching action in the same place, so that the two
cannot differ. What a change of one generation means for the service is decided in the modules that
are named after its occasion: handover, crash, stop, trial and so on.
"""

from __future__ import annotations

from sockact.core.lifecycle.actions import (
    IDLE,
    Announce,
    EndPause,
    KeepConnections,
    Kill,
    LastResponses,
    MoveGate,
    Spawn,
    Terminate,
)
from sockact.core.lifecycle.model import Gate, Generation, Phase, Ready, Service, State
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.actions import Action


class Transition:
    """The state and the actions of one step."""

    def __init__(self, state: Service, now: float) -> None:
        """`now` is CLOCK_MONOTONIC in seconds."""
        self.state = state
        self.now = now
        self.actions: list[Action] = []

    def do(self, action: Action) -> None:
        """Ask the supervisor for an action."""
        self.actions.append(action)

    def enter(self, phase: Phase) -> None:
        """Change the phase of the service and announce it to systemd."""
        if self.state.phase is not phase:
            self.state = replace(self.state, phase=phase)
            self.do(Announce(phase))

    def update(self, generation: Generation) -> None:
        """Replace the listed generation that has the same number."""
        generations = tuple(
            generation if g.number == generation.number else g for g in self.state.generations
        )
        self.state = replace(self.state, generations=generations)

    def remove(self, number: int) -> None:
        """Take a generation off the list."""
        generations = tuple(g for g in self.state.generations if g.number != number)
        self.state = replace(self.state, generations=generations)

    # One generation.

    def spawn(self) -> int:
        """Launch the next generation and return its number."""
        number = self.state.last_number + 1
        deadline = self.now + self.state.policy.start_timeout
        generation = Generation(
            number,
            State.PENDING,
            self.now,
            start_deadline=deadline,
            hooks=self.state.policy.hooks,
        )
        self.state = replace(
            self.state,
            last_number=number,
            generations=(*self.state.generations, generation),
            respawn_at=None,
        )
        self.do(Spawn(number))
        return number

    def pause(self, g: Generation) -> None:
        """Close the gate while the successor is probed or on trial."""
        self.release_kept()
        self.close_gate(replace(g, state=State.PAUSED, since=self.now))

    def resume(self, g: Generation, reason: str = "") -> None:
        """Open the gate, because the generation serves again or its gate cannot be closed
        (`reason`).
        """
        self.open_gate(
            replace(
                g,
                state=State.RUNNING,
                since=self.now,
                gate_reason=reason,
                keep_until=None,
                census_at=None,
                drain_deadline=None,
                idle_samples=0,
                hook_until=None,
                stop_for="",
            )
        )
        if g.last_responses:
            self.update(replace(self._current(g.number), last_responses=False))
            self.do(KeepConnections(g.number))

    def open_gate(self, g: Generation) -> None:
        """Order the gate open, even if it is closed only in part."""
        self.update(replace(g, gate=Gate.OPENING, gate_deadline=None))
        self.do(MoveGate(g.number, closed=False))

    def end_pause(self, reason: str) -> None:
        """End the pause by the operator, if there is one. The gates stay as they are."""
        if self.state.pause is not None and self.state.is_paused:
            pause = replace(self.state.pause, ended=self.now, reason=reason)
            self.state = replace(self.state, pause=pause)
            self.do(EndPause(pause))

    def limit_opening(self, number: int) -> None:
        """Set the gate timeout for the order to open, while another generation serves."""
        deadline = self.now + self.state.policy.gate_timeout
        self.update(replace(self._current(number), gate_deadline=deadline))

    def close_gate(self, g: Generation, *, hold: bool = False) -> None:
        """Order the gate closed, unless it is closed or the order is already out. `hold` as for
        MoveGate.
        """
        if g.gate is Gate.CLOSED:
            self.update(g)
            return
        ordered = g.gate is Gate.CLOSING
        deadline = g.gate_deadline if ordered else self.now + self.state.policy.gate_timeout
        self.update(replace(g, gate=Gate.CLOSING, gate_deadline=deadline))
        if not ordered:
            self.do(MoveGate(g.number, closed=True, hold=hold))

    def drain(self, g: Generation) -> None:
        """Let the generation accept no more connections, serve those it has, then end."""
        begins = g.state is not State.DRAINING
        hook_until = None if begins else g.hook_until
        if begins and g.introduced and "draining" in g.hooks:
            hook_until = self.now + self.state.policy.hook_bound
        self.close_gate(
            replace(
                g,
                state=State.DRAINING,
                since=self.now,
                census_at=self.now if g.gate is Gate.CLOSED else None,
                drain_deadline=self.now + self.state.policy.drain_timeout,
                start_deadline=None,
                settle_at=None,
                warm_until=None,
                trial_until=None,
                canary_until=None,
                keep_until=None,
                hook_until=hook_until,
            )
        )
        self.last_responses(g.number)
        self._limit_draining()

    def release_kept(self) -> None:
        """Drain the generation that was kept for a rollback."""
        if kept := self.state.kept:
            self.drain(kept)

    def last_responses(self, number: int) -> None:
        """Ask the generation, once, to close each connection with its next response."""
        g = self._current(number)
        if not g.last_responses:
            self.update(replace(g, last_responses=True))
            self.do(LastResponses(number))

    def _limit_draining(self) -> None:
        most = self.state.policy.max_draining
        draining = [
            g
            for g in self.state.only(State.DRAINING)
            if g.finishing or not (g.ending or g.stop_for)
        ]
        if len(draining) > most and self.state.phase is not Phase.STOPPING:
            oldest = min(draining, key=lambda g: g.since)
            if oldest.finishing:
                self.finish_by_kill_timeout(oldest)
            else:
                self.terminate(oldest, f"more than {most} generations are draining")

    def finish_by_kill_timeout(self, g: Generation) -> None:
        """Let a generation that finishes its connections have the kill timeout only."""
        latest = self.now + self.state.policy.kill_timeout
        kill_at = latest if g.kill_at is None else min(g.kill_at, latest)
        self.update(replace(g, finishing=False, census_at=None, kill_at=kill_at))

    def terminate(self, g: Generation, reason: str) -> None:
        """Send the stop signal, after the draining hook has ended; SIGKILL follows at the kill
        timeout.
        """
        if g.state is State.DRAINING and g.hook_until is not None:
            if reason == IDLE:
                self.update(replace(g, census_at=None))  # Counted again after the hook.
            else:
                self.update(replace(g, census_at=None, drain_deadline=None, stop_for=reason))
            return
        self.update(_ending(g, self.now + self.state.policy.kill_timeout))
        self.do(Terminate(g.number, reason))

    def discard(self, g: Generation) -> None:
        """End a generation that failed: drain it if it may have accepted connections, otherwise
        stop it at once.
        """
        pending = g.state is State.PENDING
        if pending and g.exit is None and self._may_have_accepted(g):
            # During its probe, say: a connection that was accepted is served.
            self.drain(replace(g, taken_back=True))
            return
        failed = _ending(g, self.now + self.state.policy.kill_timeout)
        self.update(replace(failed, state=State.FAILED, since=self.now))
        # Other processes of a crashed generation may be in the middle of a response; those of one
        # that never accepted have nothing to finish.
        idle = pending and not self._may_have_accepted(g)
        self.do(Kill(g.number) if idle else Terminate(g.number))

    def _may_have_accepted(self, g: Generation) -> bool:
        return g.interested or (self.state.policy.ready is Ready.NOTIFY and g.bound)

    def _current(self, number: int) -> Generation:
        g = self.state.get(number)
        assert g is not None
        return g


def _ending(g: Generation, kill_at: float) -> Generation:
    """The generation with SIGKILL as its only deadline."""
    return replace(
        g,
        ending=True,
        start_deadline=None,
        settle_at=None,
        warm_until=None,
        trial_until=None,
        canary_until=None,
        keep_until=None,
        gate_deadline=None,
        census_at=None,
        drain_deadline=None,
        hook_until=None,
        kill_at=kill_at,
    )
