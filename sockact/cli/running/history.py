"""`sockact history`: the last handovers and pauses that the supervisor of a service remembers."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from sockact.cli.calls import service
from sockact.cli.journal import last_words
from sockact.cli.options.name import name_argument
from sockact.cli.terminal.output import printable, say


@click.command(name="history", short_help="Show the last handovers of a service.")
@name_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON, including the counters.")
def command(name: str | None, as_json: bool) -> None:
    """Show the last 50 handovers and pauses of the service NAME, oldest first.

    Each entry of a handover shows the time, what triggered it, its outcome and the reason, how long
    each phase took, and the ID to pass to `sockact logs --handover`. NAME defaults to
    $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact history myapp
    """
    target = service.one(name)
    with target.connect() as connection:
        answer = connection.call("History", timeout=service.ANSWER_SECONDS)
    if as_json:
        say(json.dumps(answer, indent=2))
        return
    # A supervisor from before an upgrade knows of no pauses.
    pauses = answer["pauses"]["last"] if answer["pauses"] else []
    if not (answer["handovers"] or pauses):
        say(f"{target.name}: no handover yet")
    found = [(one["requested_usec"], _lines(one)) for one in answer["handovers"]]
    found += [(one["began_usec"], [_pause(one)]) for one in pauses]
    for _, lines in sorted(found, key=lambda one: one[0]):
        for line in lines:
            say(printable(line))
    for line in last_words.of_history(target.name, answer["handovers"]):
        say(printable(line))


def _lines(handover: dict[str, Any]) -> list[str]:
    when = _time(handover["requested_usec"])
    before = handover["from"]
    successor = _named(handover["to"], handover["to_version"])
    way = f"to {successor}"
    if before is not None:
        way = f"{_named(before, handover['from_version'])} to {successor}"
    ended = handover["outcome"]
    if ended == "committed":
        ended = "succeeded"
    if ended in ("succeeded", "failed"):
        ended += f" after {handover['duration_seconds']:.2f} s"
    if handover["reason"]:
        ended += f": {handover['reason']}"
    phases = [f"{one['name']} {one['seconds']:.2f} s" for one in handover["phases"]]
    if handover["phase"]:
        phases.append(f"{handover['phase']} in progress")
    if cut := handover["forced_closes"]:
        phases.append("1 connection cut off" if cut == 1 else f"{cut} connections cut off")
    if (moves := handover["moves"]) and moves["moved"]:
        count = moves["moved"]
        phases.append("1 connection moved" if count == 1 else f"{count} connections moved")
    detail = ", ".join(phases)
    return [
        f"{when}  {handover['kind']} {way} ({handover['cause']}), {ended}",
        f"  {handover['id']}{'  ' if detail else ''}{detail}",
        *(f"  hook failed: {one}" for one in handover["hooks_failed"]),
    ]


def _pause(pause: dict[str, Any]) -> str:
    what = "pause" if pause["complete"] else "incomplete pause"
    when, seconds = _time(pause["began_usec"]), f"{pause['seconds']:.2f} s"
    return f"{when}  {what} by the operator, ended after {seconds}: {pause['reason']}"


def _time(usec: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(usec / 1e6))


def _named(number: int, version: str) -> str:
    return f"{number} ({version})" if version else str(number)
