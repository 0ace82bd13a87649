"""`sockact history`: the last handovers of a service, as its supervisor remembers them."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from sockact.cli.calls import service
from sockact.cli.main import printable


@click.command(name="history", short_help="Show the last handovers.")
@service.name_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the counters.")
def command(name: str | None, as_json: bool) -> None:
    """Show the last 50 handovers of the service NAME, the oldest first.

    Each with its time, who asked for it, how it ended and why, how long each phase took, and its
    id, by which `journalctl SOCKACT_HANDOVER=ID` finds its lines. NAME is $SOCKACT_NAME, or the
    only service that runs.
    """
    target = service.one(name)
    with target.connect() as connection:
        answer = connection.call("History", timeout=service.ANSWER_SECONDS)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if not answer["handovers"]:
        click.echo(f"{target.name}: no handover yet")
    for handover in answer["handovers"]:
        for line in _lines(handover):
            click.echo(printable(line))


def _lines(handover: dict[str, Any]) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(handover["requested_usec"] / 1e6))
    before = handover.get("from")
    successor = _named(handover["to"], handover.get("to_version"))
    way = f"to {successor}"
    if before is not None:
        way = f"{_named(before, handover.get('from_version'))} to {successor}"
    ended = handover["outcome"]
    if ended in ("committed", "failed"):
        ended += f" after {handover['duration_seconds']:.2f} s"
    if handover["reason"]:
        ended += f": {handover['reason']}"
    phases = [f"{one['name']} {one['seconds']:.2f} s" for one in handover["phases"]]
    if handover["phase"]:
        phases.append(f"{handover['phase']} goes on")
    if cut := handover["forced_closes"]:
        phases.append("1 connection cut off" if cut == 1 else f"{cut} connections cut off")
    detail = ", ".join(phases)
    return [
        f"{when}  {handover['kind']} {way} ({handover['cause']}), {ended}",
        f"  {handover['id']}{'  ' if detail else ''}{detail}",
        *(f"  hook failed: {one}" for one in handover.get("hooks_failed", ())),
    ]


def _named(number: int, version: str | None) -> str:
    return f"{number} ({version})" if version else str(number)
