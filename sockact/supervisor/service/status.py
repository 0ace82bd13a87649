"""Builds the Status of docs/control.md."""

from __future__ import annotations

import os
import time

import sockact
from sockact.core.canary.progress import waiting_since
from sockact.core.lifecycle.model import Gate, State
from sockact.core.record import dataclass
from sockact.handover import census
from sockact.kernel.sockets.listener import accept_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Generation, Pause, Service
    from sockact.supervisor.changes.reload_trigger import ReloadTrigger
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.gates.lending import Lending
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.generations.live_generation import LiveGeneration
    from sockact.supervisor.moving.moving import Moving
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.outcomes import Outcomes


@dataclass
class Status:
    """Looks up the state of the service anew for each call."""

    _lifecycle: Lifecycle
    _context: Context
    _generations: Generations
    _gates: Gates
    _outcomes: Outcomes
    _history: History
    _changes: ReloadTrigger
    _moving: Moving | None
    _pause: Callable[[Pause | None], Json | None]
    """Describes the pause by the operator."""

    def of_service(self) -> Json:
        """Return the Status."""
        context, settings = self._context, self._context.settings.next
        service = self._lifecycle.service
        pids = context.processes.latest()
        own = {g.number: pids.get(g.number, []) for g in service.generations}
        try:
            counts = census.count({**own}, context.listeners, self._generations.rules_of)
        except OSError:
            counts = None
        return {
            "name": settings.name,
            "version": sockact.__version__,
            "pid": os.getpid(),
            "state": service.phase.value,
            "command": list(settings.command),
            "adopt": context.adopt.value,
            "ready": settings.ready,
            "generations": [
                _generation(g, self._generations.get(g.number), own[g.number], counts)
                | _gate(g, self._gates, own[g.number])
                | {"moving": self._moving.status(g.number) if self._moving else None}
                for g in service.generations
            ],
            "listeners": _listeners(context.lending),
            "unaccepted": self._history.ledger.unaccepted_so_far(),
            "handover": self._outcomes.last(service),
            "starts": self._history.status(),
            "logs": context.logs.status(),
            "watch": self._changes.status(),
            "canary": _canary(service),
            "pause": self._pause(service.pause),
        }


def _generation(
    g: Generation,
    known: LiveGeneration | None,
    pids: list[int],
    counts: dict[int, census.Counts] | None,
) -> Json:
    started = known.started if known else time.time()
    found = counts.get(g.number) if counts else None
    return {
        "number": g.number,
        "state": g.state.value,
        "on_trial": g.trial_until is not None,
        "seconds_left": _seconds_left(g),
        "pid": known.pid if known else 0,
        "pids": pids,
        "started_usec": round(started * 1_000_000),
        "version": known.version.text if known else "",
        "age_seconds": max(0.0, time.time() - started),
        "unlisted": list(known.unlisted) if known else [],
        "warming": None if g.warm_until is None else g.warmth,
        "connections": found and {"busy": found.busy, "fresh": found.fresh, "quiet": found.quiet},
    }


def _seconds_left(g: Generation) -> float | None:
    """Return the seconds until its start, trial, keeping or drain times out."""
    when = g.times_out_at
    return None if when is None else max(0.0, when - time.monotonic())


def _gate(g: Generation, gates: Gates, pids: list[int]) -> Json:
    by: str | None = None
    reason = ""
    if g.gate is Gate.NONE:
        by = Gate.NONE.value  # The attempt to move it failed.
    elif g.state is not State.PENDING:
        by, reason = gates.mechanism(g.number, pids)
        if g.gate is Gate.CLOSED and by == Gate.NONE.value:
            by, reason = None, ""  # It was moved. A process that is exiting no longer shows how.
    return {"gate": g.gate.value, "gate_by": by, "gate_reason": g.gate_reason or reason}


def _listeners(lending: Lending) -> list[Json]:
    """Describe each address; the queue is that of all its lanes."""
    lanes = lending.lanes
    found: list[Json] = []
    for place, listener in enumerate(lanes.addresses):
        queues = [accept_queue(lanes[lane][place]) for lane in range(lanes.count)]
        known = [queue for queue in queues if queue]
        described = [_lane(lending, lane, queue) for lane, queue in enumerate(queues)]
        used = [one for one in described if one["generations"] or one["queue_length"]]
        found.append(
            {
                "name": listener.name,
                "address": str(listener.address),
                "type": listener.address.kind.value,
                "queue_length": sum(queue[0] for queue in known) if known else None,
                "queue_limit": known[0][1] if known else None,
                "lanes": used if lanes.count > 1 else [],
                "no_lanes": lanes.why_none,
            }
        )
    return found


def _canary(service: Service) -> Json | None:
    canary, handover = service.canary, service.handover
    if canary is None or handover is None:
        return None
    successor = service.get(handover.successor)
    now = time.monotonic()
    since = waiting_since(canary.plan, canary.progress, now)
    return {
        "generation": handover.successor,
        "share": canary.progress.share,
        "by": "client" if canary.plan.by_client else "connection",
        "step": canary.progress.step + 1,
        "steps": len(canary.plan.schedule.steps),
        "seconds_left": _seconds_left(successor) if successor else None,
        "held": canary.progress.held,
        "waiting_seconds": None if since is None else now - since,
        "verdict": canary.judgement.verdict.value,
        "reasons": list(canary.judgement.reasons),
    }


def _lane(lending: Lending, lane: int, queue: tuple[int, int] | None) -> Json:
    return {
        "number": lane,
        "generations": lending.generations_with(lane),
        "share": lending.share_of(lane),
        "queue_length": queue[0] if queue else None,
    }
