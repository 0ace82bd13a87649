"""Hands due hooks to the runner, with the facts that they get as input: docs/hooks.md."""

from __future__ import annotations

import time
from functools import partial

from sockact.core import json_text
from sockact.core.lifecycle.events import HookEnded
from sockact.core.lifecycle.hooks import Hook
from sockact.core.lifecycle.model import Phase
from sockact.core.lifecycle.stop import STOPPING
from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.supervisor.hooks.runner import HookBatch
from sockact.supervisor.processes.environment import probe_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.history.ledger import LedgerEntry
    from sockact.core.json_data import Json
    from sockact.core.lifecycle.hooks import Due
    from sockact.core.lifecycle.model import Service
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.generations.live_generation import LiveGeneration
    from sockact.supervisor.hooks.runner import HookInput, HookRunner
    from sockact.supervisor.records.ledger import Ledger

    # (generation, message, level, kind, id of the handover)
    Say = Callable[[int, str, int, News, str], None]

_MOST_LISTED = 1000
"""Items of a list in a variable: execve(2) takes none of more than 128 KiB."""
_BLOCKING = (Hook.RUNNING, Hook.DRAINING)


class HookDispatcher:
    """Dispatches the hooks of one service."""

    def __init__(
        self,
        hooks: HookRunner,
        context: Context,
        generations: Generations,
        ledger: Ledger,
        say: Say,
    ) -> None:
        self._hooks = hooks
        self._context = context
        self._generations = generations
        self._ledger = ledger
        self._say = say

    def follow(self, due: tuple[Due, ...], service: Service) -> None:
        """Run the hooks that a step made due, after its actions."""
        for one in due:
            self._add(one, service)
        self._hooks.settle()

    def _add(self, due: Due, service: Service) -> None:
        launched = self._generations.get(due.number)
        settings = self._generations.settings_of(due.number)
        ended = partial(self._ended, due)
        commands = tuple(words for event, *words in settings.on if event == due.event)
        if not commands:
            g = service.get(due.number)
            if g is not None and g.hook_until is not None:
                ended("")
            return
        entry = self._ledger.entry(due.number)
        cause = entry.cause if entry else _cause(due, service)
        self._hooks.add(
            HookBatch(
                due.number,
                tuple(map(tuple, commands)),
                settings.hook_timeout,
                partial(self._input, due, launched, entry, cause),
                partial(self._failed, due, entry),
                ended,
                to_the_end=due.event is not Hook.RUNNING,
                latest=due.event is Hook.CANARY,
            )
        )

    def _input(
        self, due: Due, launched: LiveGeneration | None, entry: LedgerEntry | None, cause: str
    ) -> HookInput | None:
        if launched is not None and launched.version.under_way:
            return None
        facts = self._facts(due, launched, entry and self._ledger.newest(entry), cause)
        own = launched.own if launched else {}
        base = probe_environment(self._context.environment | own, str(facts["name"]))
        return base | _variables(facts), json_text.encode(facts).encode() + b"\n"

    def _facts(
        self, due: Due, launched: LiveGeneration | None, entry: LedgerEntry | None, cause: str
    ) -> Json:
        reason, (step, steps) = due.reason, due.step or (None, None)
        explained = due.event is Hook.FAILED and entry and entry.reason.startswith(reason)
        if entry and (due.event is Hook.ROLLED_BACK or explained):
            reason = entry.reason
        return {
            "event": due.event.value,
            "name": self._context.settings.next.name,
            "generation": due.number,
            "version": launched.version.text if launched else "",
            "pid": launched.pid if launched else 0,
            "pids": self._context.processes.of(due.number),
            "handover": entry.id if entry else "",
            "cause": cause,
            "outcome": entry.outcome if entry else "",
            "reason": reason,
            "predecessor": entry.predecessor if entry else None,
            "predecessor_version": entry.from_version if entry else "",
            "successor": entry.successor if entry else None,
            "successor_version": entry.to_version if entry else "",
            "share": _percent(due.share),
            "step": step,
            "steps": steps,
            "listen": [str(one.address) for one in self._context.lending.lanes.addresses],
            "at_usec": round(time.time() * 1_000_000),
        }

    def _failed(self, due: Due, entry: LedgerEntry | None, reason: str) -> None:
        self._ledger.hook_failed(
            entry, due.event, f"{due.event.value} (generation {due.number}): {reason}"
        )
        message = f"hook for {due.event.value} failed: {reason}"
        handover = entry.id if entry else ""
        self._say(due.number, message, report.ERROR, News.HOOK, handover)

    def _ended(self, due: Due, reason: str) -> None:
        if due.event in _BLOCKING:
            reason = reason and f"hook for {due.event.value} failed: {reason}"
            self._context.handle(HookEnded(due.number, due.event.value, reason))


def _percent(share: int | None) -> float | None:
    """Return a share in per cent, whole if it can be."""
    return share // 10 if share is not None and share % 10 == 0 else share and share / 10


def _cause(due: Due, service: Service) -> str:
    """Return the cause of an event that belongs to no handover."""
    if due.event is Hook.FAILED:
        return "stop" if due.reason == STOPPING else "crash"
    if service.phase in (Phase.STOPPING, Phase.STOPPED):
        return "stop"
    first = due.number == 1 and due.event in (Hook.PENDING, Hook.RUNNING)
    return "start" if first else "crash"


def _variables(facts: Json) -> dict[str, str]:
    """Return the known facts as variables SOCKACT_…"""
    found = {}
    for name, value in facts.items():
        text = " ".join(map(str, value[:_MOST_LISTED])) if isinstance(value, list) else str(value)
        if value not in (None, "", []):
            found[f"SOCKACT_{name.upper()}"] = text.replace("\0", "?")
    return found
