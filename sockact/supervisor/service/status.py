"""The service as plain data: the Status of docs/control.md."""

from __future__ import annotations

import os
import time

import sockact
from sockact.core.lifecycle.model import Gate, State
from sockact.handover import census
from sockact.kernel.sockets.listener import accept_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Generation, Handover, Service
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.launched import Launched

    Json = dict[str, object]


def service_status(
    service: Service,
    context: Context,
    launched: dict[int, Launched],
    gates: Gates,
    handover: Json | None,
) -> Json:
    """The whole Status. Counts connections anew."""
    pids = context.processes.latest()
    listed = service.generations
    try:
        counts = census.count({g.number: pids.get(g.number, []) for g in listed}, context.listeners)
    except OSError:
        counts = None
    return {
        "name": context.settings.name,
        "version": sockact.__version__,
        "pid": os.getpid(),
        "state": service.phase.value,
        "command": list(context.settings.command),
        "adopt": context.adopt.value,
        "ready": context.settings.ready,
        "generations": [
            _generation(g, launched, pids.get(g.number, []), counts)
            | _gate(g, gates, pids.get(g.number, []))
            for g in listed
        ],
        "listeners": [_listener(x) for x in context.listeners],
        "handover": handover,
    }


def handover_status(handover: Handover, stderr: list[str]) -> Json:
    """One Handover."""
    now = time.monotonic()
    return {
        "id": handover.id,
        "outcome": handover.outcome.value,
        "rollback": handover.rollback,
        "from": handover.predecessor,
        "to": handover.successor,
        "reason": handover.reason,
        "stderr": stderr,
        "requested_usec": round((time.time() - (now - handover.requested)) * 1_000_000),
        "duration_seconds": (handover.finished or now) - handover.requested,
        "drained": handover.drained,
        "kept": handover.kept,
    }


def _generation(
    g: Generation,
    launched: dict[int, Launched],
    pids: list[int],
    counts: dict[int, census.Counts] | None,
) -> Json:
    known = launched.get(g.number)
    started = known.started if known else time.time()
    found = counts[g.number] if counts else None
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
        "connections": found and {"busy": found.busy, "fresh": found.fresh, "quiet": found.quiet},
    }


def _seconds_left(g: Generation) -> float | None:
    """Until its start, trial, keeping or drain is cut off."""
    due = (g.start_deadline, g.trial_until, g.keep_until, g.drain_deadline, g.kill_at)
    when = next((one for one in due if one is not None), None)
    return None if when is None else max(0.0, when - time.monotonic())


def _gate(g: Generation, gates: Gates, pids: list[int]) -> Json:
    by: str | None = None
    reason = ""
    if g.gate is Gate.NONE:
        by = Gate.NONE.value  # It was tried.
    elif g.state is not State.PENDING:
        by, reason = gates.way(g.number, pids)
        if g.gate is Gate.CLOSED and by == Gate.NONE.value:
            by, reason = None, ""  # It was moved; a process that ends no longer shows how.
    return {"gate": g.gate.value, "gate_by": by, "gate_reason": g.gate_reason or reason}


def _listener(listener: Listener) -> Json:
    queue = accept_queue(listener)
    return {
        "name": listener.name,
        "address": str(listener.address),
        "type": listener.address.kind.value,
        "queue_length": queue[0] if queue else None,
        "queue_limit": queue[1] if queue else None,
    }
