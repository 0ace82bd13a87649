"""A reload: the successor is launched and warmed up, serves on trial or for good, and its
predecessor drains.
"""

from __future__ import annotations

from sockact.core.canary import progress as canary
from sockact.core.canary.schedule import percent
from sockact.core.canary.verdict import NOTHING_SEEN
from sockact.core.lifecycle.actions import Finish, Report, StartTrial, StartWarmUp
from sockact.core.lifecycle.events import Explained, Reload, Warmed, Warming
from sockact.core.lifecycle.model import Generation, Handover, Outcome, Phase, State
from sockact.core.message_kinds import News
from sockact.core.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.canary.progress import Progress
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.transition import Transition


def reload(step: Transition, event: Event) -> None:
    """Begin a handover, or queue one while another is under way or the service is paused."""
    assert isinstance(event, Reload)
    state = step.state
    if state.phase in (Phase.STOPPING, Phase.STOPPED):
        return
    if state.in_handover or state.pending or state.is_paused:
        if state.queued is None:
            identity = state.last_handover + 1
            step.state = replace(
                state, queued=identity, last_handover=identity, queued_plan=event.plan
            )
        elif state.queued_plan is None:
            step.state = replace(state, queued_plan=event.plan)
        return
    step.state = replace(state, last_handover=state.last_handover + 1, queued_plan=event.plan)
    begin(step, step.state.last_handover, gives_up=event.gives_up)


def begin(step: Transition, identity: int, *, gives_up: bool = False) -> None:
    """Launch the successor. `gives_up`: the predecessor does not serve, so there is no canary."""
    predecessor = step.state.serving
    successor = step.spawn()
    number = predecessor.number if predecessor else None
    step.state = replace(
        step.state,
        handover=Handover(identity, step.now, number, successor, gives_up=gives_up),
        queued=None,
        plan=None if gives_up else step.state.queued_plan or step.state.policy.plan,
        queued_plan=None,
    )
    step.enter(Phase.RELOADING)


def serve(step: Transition, g: Generation) -> None:
    """A pending generation is ready: it is warmed up first if another one serves meanwhile."""
    predecessor = step.state.serving
    g = replace(g, state=State.RUNNING, since=step.now, start_deadline=None, settle_at=None)
    if predecessor is None or not step.state.in_handover or not step.state.policy.warm:
        _prove(step, g, predecessor)
    elif not g.alone:
        step.do(Report(g.number, "not warmed up, because no lane is free", news=News.WARM))
        _prove(step, g, predecessor)
    else:
        step.update(replace(g, warm_until=step.now + step.state.policy.warm))
        if predecessor.state is State.PAUSED:
            step.resume(predecessor)
        step.do(StartWarmUp(g.number))


def warming(step: Transition, event: Event) -> None:
    """Requests were sent to the generation."""
    assert isinstance(event, Warming)
    g = step.state.get(event.number)
    if g is not None and g.warm_until is not None:
        step.update(replace(g, warmth=event.progress))


def warmed(step: Transition, event: Event) -> None:
    """The warm-up has ended. The generation gets clients even if it is not warm."""
    assert isinstance(event, Warmed)
    g = step.state.get(event.number)
    if g is not None and g.warm_until is not None:
        end_warm_up(step, g, event.reason)


def warm_up_over(step: Transition, g: Generation) -> None:
    """The generation is not warm in time."""
    end_warm_up(step, g, f"response times did not settle within {step.state.policy.warm:g} s")


def end_warm_up(step: Transition, g: Generation, reason: str) -> None:
    """Go on after the warm-up; `reason`: why the generation may not be warm."""
    told = [one for one in (reason, g.warmth) if one]
    outcome = "not warm, continuing" if reason else "warmed up"
    step.do(Report(g.number, ": ".join([outcome, *told]), news=News.WARM))
    g = replace(g, warm_until=None)
    step.update(g)
    _prove(step, g, step.state.predecessor)


def _prove(step: Transition, g: Generation, predecessor: Generation | None) -> None:
    """Let a generation serve, on trial if its predecessor can be paused."""
    tried = step.state.policy.trial or "running" in g.hooks
    if predecessor is None or not step.state.in_handover or not tried:
        g = replace(g, introduced=True)
        step.update(g)
        introduce(step, g, predecessor)
        return
    if predecessor.state is State.PAUSED or (step.state.policy.private_trial and g.alone):
        begin_trial(step, g)
    else:
        # The trial begins when the gate has closed, which has a deadline of its own.
        policy = step.state.policy
        until = step.now + policy.gate_timeout + policy.trial
        step.update(replace(g, trial_until=until))
        step.pause(predecessor)


def begin_trial(step: Transition, g: Generation) -> None:
    """Let the generation serve on trial from now on."""
    hook_until = g.hook_until
    if "running" in g.hooks and not g.introduced:
        hook_until = step.now + step.state.policy.hook_bound
    until = step.now + step.state.policy.trial
    step.update(replace(g, trial_until=until, introduced=True, hook_until=hook_until))
    step.do(StartTrial(g.number))


def introduce(step: Transition, g: Generation, predecessor: Generation | None) -> None:
    """Let a generation that has been proven have clients: all, or at first the share of a canary.

    Clients can be shared out only between two generations that accept connections.
    """
    plan = step.state.plan
    if plan is None or predecessor is None or not step.state.in_handover:
        commit(step, g, predecessor)
        return
    if not g.alone:
        take_back(step, g, "no lane is free for a canary; try again when fewer are draining")
        return
    if predecessor.state is State.PAUSED:
        step.resume(predecessor)
    progress, _ = canary.begin(plan, step.now)
    step.state = replace(step.state, canary=canary.Canary(plan, progress, NOTHING_SEEN))
    step.update(replace(g, canary_until=canary.over(plan, progress)))
    step.do(Report(g.number, describe(progress), news=News.CANARY))


def describe(progress: Progress) -> str:
    """The share of a canary, for the operator."""
    return f"canary: gets {percent(progress.share)} of the new clients"


def commit(step: Transition, g: Generation, predecessor: Generation | None) -> None:
    """Let the generation serve for good; its predecessor drains."""
    if predecessor is not None:
        _retire(step, predecessor)
    if step.state.in_handover:
        finish(step, Outcome.COMMITTED)
    else:
        step.do(Report(g.number, "serving", news=News.SERVES))
    settle(step)


def _retire(step: Transition, g: Generation) -> None:
    """Drain a predecessor, or keep it paused for a rollback first."""
    step.release_kept()
    if not step.state.policy.keep_predecessor:
        step.drain(g)
        return
    until = step.now + step.state.policy.keep_predecessor
    step.close_gate(replace(g, state=State.PAUSED, since=step.now, keep_until=until))
    step.last_responses(g.number)


def take_back(step: Transition, g: Generation, reason: str) -> None:
    """Reject the successor. Its predecessor keeps serving, or serves again if it was paused."""
    predecessor = step.state.predecessor
    if predecessor is None:
        step.update(replace(g, trial_until=None, canary_until=None))
        reason += "; still serving, because the previous generation has ended"
    else:
        if predecessor.state is State.PAUSED:
            step.resume(predecessor)  # First of all: clients wait.
        step.drain(replace(g, taken_back=True))
    finish(step, Outcome.FAILED, reason)
    settle(step)


def finish(step: Transition, outcome: Outcome, reason: str = "") -> None:
    """Record the outcome of the handover under way."""
    assert step.state.handover
    predecessor = step.state.get(step.state.handover.predecessor or 0)
    handover = replace(
        step.state.handover,
        outcome=outcome,
        reason=reason,
        finished=step.now,
        drained=predecessor is None,
        kept=predecessor is not None and predecessor.keep_until is not None,
    )
    step.state = replace(step.state, handover=handover, plan=None, canary=None)
    step.do(Finish(handover))


def explained(step: Transition, event: Event) -> None:
    """Add to the reason of the last handover what its successor wrote."""
    assert isinstance(event, Explained)
    handover = step.state.handover
    if handover and handover.id == event.id and handover.outcome is Outcome.FAILED:
        step.state = replace(step.state, handover=replace(handover, reason=event.reason))


def settle(step: Transition) -> None:
    """Return to the serving phase after a launch; a queued reload begins."""
    if step.state.phase is Phase.STOPPING:
        return
    # systemd has to hear that the last reload is over before the next one begins.
    step.enter(Phase.SERVING)
    if step.state.queued is not None and not step.state.is_paused:
        begin(step, step.state.queued)
