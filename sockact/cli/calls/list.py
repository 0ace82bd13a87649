"""All services of this host in one table."""

from __future__ import annotations

import os

from sockact.cli.calls import service
from sockact.cli.calls.asking import ask_all
from sockact.cli.calls.show import COLUMNS, ago, state_of
from sockact.cli.calls.status import MOST_FAILURES, tell_more
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import printable, say
from sockact.core import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sockact.cli.calls.service import Service

SECONDS = 2.0
"""How long one service may keep the others from being listed."""

_HEADER = ("NAME", "STATE", "GENERATION", "VERSION", "CONNECTIONS", "LAST HANDOVER")
_FACTS = ("state", "pause", "share", "generation", "version", "connections", "handover")


def perform(*, as_json: bool = False) -> int:
    """`sockact list`; its exit status."""
    services = service.everywhere()
    answers = ask_all(services, SECONDS)
    entries = [_entry(one, answer) for one, answer in zip(services, answers, strict=True)]
    if as_json:
        say(json_text.indented(entries))
    elif entries:
        failed = [index for index, entry in enumerate(entries) if entry["error"]]
        left_out = {*failed[MOST_FAILURES:]}
        shown = [index for index in range(len(entries)) if index not in left_out]
        say("\n".join(_table([(services[index], entries[index]) for index in shown])))
        tell_more(len(left_out))
    else:
        say(f"No service is running; {service.START_ONE}.")
    service.tell_unseen()
    return 0


def _entry(one: Service, answer: dict[str, Any] | Failure) -> dict[str, Any]:
    found = {"name": one.name, "directory": one.directory, **dict.fromkeys(_FACTS), "error": None}
    if isinstance(answer, Failure):
        return {**found, "error": answer.message}
    return {**found, **_facts(answer)}


def _facts(status: dict[str, Any]) -> dict[str, Any]:
    generations = status["generations"]
    serving = [one for one in generations if one["state"] == "running"] or generations
    latest = max(serving, key=lambda one: one["number"], default=None)
    counts = [one["connections"] for one in generations if one["connections"]]
    kinds = ("busy", "fresh", "quiet")
    handover = status["handover"]
    return {
        "state": status["state"],
        "share": status["canary"] and status["canary"]["share"],
        "pause": status["pause"],
        "generation": latest and latest["number"],
        "version": latest and latest["version"],
        "connections": {kind: sum(one[kind] for one in counts) for kind in kinds},
        "handover": handover
        and {kind: handover[kind] for kind in ("outcome", "rollback", "requested_usec")},
    }


def _handover(handover: dict[str, Any]) -> str:
    outcome: str = handover["outcome"]
    if outcome == "pending":
        return "in progress"
    if outcome == "committed":
        outcome = "rolled back" if handover["rollback"] else "succeeded"
    return f"{outcome} {ago(handover['requested_usec'])}"


def _table(found: list[tuple[Service, dict[str, Any]]]) -> list[str]:
    """The lines; with the shares of canaries, if they fit."""
    lines = _aligned([_HEADER, *(_row(*one, _state_and_share(one[1])) for one in found)])
    if max(map(len, lines)) > COLUMNS:
        lines = _aligned([_HEADER, *(_row(*one, state_of(one[1])) for one in found)])
    return lines


def _state_and_share(entry: dict[str, Any]) -> str:
    if entry["share"] is None or entry["pause"]:
        return state_of(entry)
    return f"canary {entry['share'] / 10:g} %"


def _row(one: Service, entry: dict[str, Any], state: str) -> Sequence[str]:
    # By its name alone a command finds it only in the usual place.
    name = one.name if os.path.dirname(one.directory) == service.base() else one.directory
    if entry["error"]:
        return (name, "no answer", *"-" * 4)
    connections, handover = sum(entry["connections"].values()), entry["handover"]
    return (
        name,
        state,
        str(entry["generation"] or "-"),
        entry["version"] or "-",
        str(connections),
        _handover(handover) if handover else "-",
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
