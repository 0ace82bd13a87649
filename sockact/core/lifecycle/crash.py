"""A crash, or a launch that fails: what is left of the generation ends, and another one serves.

The first crash costs no wait, because connections queue up. After that the wait doubles, so that
systemd's StartLimitBurst= never sees a crash loop.
"""

from __future__ import annotations

from sockact.core.lifecycle import pause
from sockact.core.lifecycle.actions import Drained, Report, StartProbe, Terminate
from sockact.core.lifecycle.events import Exited, Gone, LaunchFailed, Unreachable
from sockact.core.lifecycle.handover import (
    begin,
    begin_trial,
    commit,
    end_warm_up,
    finish,
    settle,
)
from sockact.core.lifecycle.model import Exit, Gate, Outcome, Phase, State
from sockact.core.lifecycle.stop import give_up, quit_when_empty
from sockact.core.message_kinds import News
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.model import Generation
    from sockact.core.lifecycle.transition import Transition

_GOLDEN = 0.6180339887498949
_EXITED = "the program exited by itself"


def launch_failed(step: Transition, event: Event) -> None:
    """The program could not be executed."""
    assert isinstance(event, LaunchFailed)
    g = step.state.get(event.number)
    if g is not None and g.state is State.PENDING:
        fail(step, replace(g, exit=Exit(code=2)), event.reason)


def unreachable(step: Transition, event: Event) -> None:
    """The generation would be ready, but no client can connect to it."""
    assert isinstance(event, Unreachable)
    g = step.state.get(event.number)
    if g is not None and g.state is State.PENDING:
        fail(step, g, event.reason)


def exited(step: Transition, event: Event) -> None:
    """The first process of a generation has ended."""
    assert isinstance(event, Exited)
    g = step.state.get(event.number)
    if g is None or g.exit is not None:
        return
    g = replace(g, exit=event.exit)
    step.update(g)
    if g.ending:
        # A shell, say, that did not pass the signal on: the other processes get it now.
        step.do(Terminate(g.number))
        return
    # Status 0 is no failure yet: a program that daemonises leaves its children behind.
    if event.exit.clean:
        return
    if g.state is State.PENDING:
        fail(step, g, _early_end(g))
    elif g.state in (State.RUNNING, State.PAUSED):
        _forget_old_crashes(step, g)
        fail(step, g, f"the program {event.exit}")


def gone(step: Transition, event: Event) -> None:
    """The last process of a generation has ended."""
    assert isinstance(event, Gone)
    g = step.state.get(event.number)
    if g is None:
        return
    step.remove(g.number)
    handover = step.state.handover
    if handover is not None and handover.predecessor == g.number:
        step.state = replace(step.state, handover=replace(handover, drained=True))
    exit = g.exit or Exit()
    g = replace(g, exit=event.failure if exit.clean and event.failure else exit)
    if g.state is State.PENDING:
        lose(step, g, _early_end(g))
    elif g.state is State.DRAINING:
        step.do(Drained(g.number))
    elif g.state in (State.RUNNING, State.PAUSED) and not g.ending:
        _ended_while_serving(step, g)
    quit_when_empty(step)


def _early_end(g: Generation) -> str:
    reason = f"the program {g.exit} before it was ready"
    return f"{reason}: {g.refusal}" if g.refusal else reason


def _ended_while_serving(step: Transition, g: Generation) -> None:
    assert g.exit is not None
    if not g.exit.clean:
        _forget_old_crashes(step, g)
        lose(step, g, f"the program {g.exit}")
    elif g.keep_until is not None:
        step.do(Report(g.number, f"{_EXITED}; no rollback to it is possible"))
    elif step.state.in_handover:
        lose(step, g, _EXITED)
    else:
        step.do(Report(g.number, f"{_EXITED}; stopping the service", news=News.ENDED))
        give_up(step, 0)


def _forget_old_crashes(step: Transition, g: Generation) -> None:
    if step.now - g.since >= step.state.policy.stable_after:
        step.state = replace(step.state, crashes=0)


def fail(step: Transition, g: Generation, reason: str) -> None:
    """End what is left of a generation that crashed or never became ready."""
    step.discard(g)
    lose(step, g, reason)


def lose(step: Transition, g: Generation, reason: str) -> None:
    """Decide what follows for the service when a pending or serving generation is lost."""
    handover = step.state.handover
    if handover and step.state.in_handover and handover.successor == g.number:
        _fail_handover(step, reason)
        return
    if step.state.phase is Phase.STOPPING:
        return
    step.do(Report(g.number, reason, error=True, news=News.FAILED))
    if step.state.phase is Phase.STARTING:
        status = g.exit.status if g.exit else 1 if g.bound else 2
        give_up(step, status)
    elif successor := step.state.on_trial:
        _go_on_with_trial(step, g, successor)
    elif warming := step.state.warming:
        if handover and handover.predecessor == g.number:
            end_warm_up(step, warming, "the previous generation has ended")
    elif step.state.canary is not None:
        if handover and handover.predecessor == g.number:
            _go_on_without_canary(step)
    elif step.state.in_handover:
        _probe_without_predecessor(step)
    elif step.state.serving is None:
        _replace(step)


def _go_on_with_trial(step: Transition, g: Generation, successor: Generation) -> None:
    """There is nothing to go back to, but the trial still tells whether the successor is good."""
    if g.gate is Gate.CLOSING:
        begin_trial(step, successor)


def _go_on_without_canary(step: Transition) -> None:
    """There is nothing to compare the canary with, or to go back to: it gets all clients."""
    handover = step.state.handover
    successor = handover and step.state.get(handover.successor)
    if successor:
        successor = replace(successor, canary_until=None)
        step.update(successor)
        commit(step, successor, None)


def _probe_without_predecessor(step: Transition) -> None:
    successor = step.state.pending
    if successor is not None and successor.interested and successor.settle_at is None:
        step.do(StartProbe(successor.number))


def _fail_handover(step: Transition, reason: str) -> None:
    """The successor failed: the predecessor continues to serve."""
    serving = step.state.serving
    stopping = step.state.phase is Phase.STOPPING
    if serving is not None and serving.state is State.PAUSED and not stopping:
        step.resume(serving)  # First of all: clients wait.
    finish(step, Outcome.FAILED, reason)
    if stopping:
        return
    if serving is None:
        _replace(step)
    else:
        settle(step)


def _replace(step: Transition) -> None:
    """Nothing serves: go back to the generation that was kept for that, or launch again."""
    if step.state.is_paused:
        pause.wait(step)
    elif kept := step.state.kept:
        step.resume(kept)
        step.do(Report(kept.number, "serving again", error=True, news=News.SERVES_AGAIN))
        settle(step)
    else:
        _respawn(step)


def _respawn(step: Transition) -> None:
    policy = step.state.policy
    step.state = replace(step.state, crashes=step.state.crashes + 1)
    wait = backoff(step.state.crashes, policy.backoff_first, policy.backoff_limit)
    if step.state.queued is not None:
        # Whoever asked for a reload may have fixed the program: no reason to wait.
        begin(step, step.state.queued)
        return
    step.enter(Phase.BACKOFF)
    if wait:
        wait = spread(wait, policy.jitter, policy.seed, step.state.last_number)
        step.state = replace(step.state, respawn_at=step.now + wait)
    else:
        step.spawn()


def backoff(crashes: int, first: float, limit: float) -> float:
    """Seconds to wait before the launch after the `crashes`th crash in a row: 0, `first`, and then
    twice as long each time, up to `limit`.
    """
    if crashes <= 1:
        return 0.0
    # The exponent is bounded: 2.0 ** 1100 would overflow after a long night of crashes.
    return min(limit, first * 2.0 ** min(crashes - 2, 64))


def spread(wait: float, jitter: float, seed: float, number: int) -> float:
    """The wait, longer or shorter by up to the fraction `jitter` (0 to 1).

    `seed` (0 to 1) differs from service to service, `number` from launch to launch, so that
    programs that crashed together are not launched together. The golden ratio spreads the numbers
    evenly.
    """
    return wait * (1.0 + jitter * (2.0 * ((seed + number * _GOLDEN) % 1.0) - 1.0))
