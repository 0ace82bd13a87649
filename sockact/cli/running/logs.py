"""`sockact logs`: what the journal has of a service, its supervisor's lines and its program's."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from sockact.cli.calls import service
from sockact.cli.journal import matches, selection, service_units, since
from sockact.cli.journal.entry import entry
from sockact.cli.journal.reader import CannotRead, Journal, why_not_readable
from sockact.cli.options.name import name_argument
from sockact.cli.options.values import check_identifier
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.cli.journal.entry import Entry
    from sockact.cli.journal.selection import Selection, Source
    from sockact.supervisor.control.varlink import JsonObject

_MOST_LINES = 1_000_000
_ID_DIGITS = 32


def check_since(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> float | None:
    """A callback: seconds since 1970."""
    try:
        return None if value is None else since.moment(value, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def check_id(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A callback: the id of a handover."""
    if value is not None and (len(value) != _ID_DIGITS or set(value) - set("0123456789abcdef")):
        raise click.BadParameter(f"{value!r} is not a handover ID; `sockact history` shows the IDs")
    return value


@click.command(name="logs", short_help="Show a service's log lines.")
@name_argument
@click.option("--follow", "-f", is_flag=True, help="Show new lines as they are written.")
@click.option(
    "--lines",
    "-n",
    metavar="N",
    type=click.IntRange(0, _MOST_LINES),
    default=100,
    show_default=True,
    help="Show at most the last N existing lines.",
)
@click.option(
    "--generation",
    metavar="N",
    type=click.IntRange(1),
    help="Show only lines about generation N, and lines that it wrote.",
)
@click.option(
    "--handover",
    metavar="ID",
    callback=check_id,
    help="Show only lines about the handover ID, and lines that the next generation wrote during "
    "the handover.",
)
@click.option(
    "--since",
    "begin",
    metavar="TIME",
    callback=check_since,
    help="Show only lines since TIME: 10min, today, 12:30, '2026-03-01 12:30'.",
)
@click.option(
    "--identifier",
    metavar="TEXT",
    callback=lambda context, option, value: value and check_identifier(context, option, value),
    help="Journal identifier of the service, as for `sockact run`.  [default: NAME]",
)
@click.option("--json", "as_json", is_flag=True, help="Print each line as a JSON object.")
def command(
    name: str | None,
    follow: bool,
    lines: int,
    generation: int | None,
    handover: str | None,
    begin: float | None,
    identifier: str | None,
    as_json: bool,
) -> None:
    """Show what the service NAME and its supervisor wrote to the journal.

    Only lines that systemd attributes to the service's own unit are shown; lines from other units
    are ignored, even if they use the same identifier. The generation that wrote a line is known
    only if the service runs with --identifier, which `sockact init` sets. What a program writes to
    files is not shown. NAME defaults to $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact logs myapp --since 10min --follow
    """
    if handover and (follow or generation):
        raise click.UsageError("--handover cannot be used with --follow or --generation")
    name = name or service.one(None).name
    units = service_units.units(name)
    try:
        with Journal() as journal:
            source = selection.Source(journal, matches.of_units(units), identifier or name)
            chosen = _choose(source, name, generation, handover, follow)
            found = _show(_existing(source, chosen, lines, begin), as_json)
            if not found and lines:
                _explain(name, ", ".join(dict.fromkeys(unit.name for unit in units)))
            if chosen.note:
                complain(Failure(f"{name}: {chosen.note}"))
            if follow:
                output = sys.stdout.fileno()
                _show((entry(one, source.identifier) for one in journal.follow(output)), as_json)
    except CannotRead as error:
        raise Failure(str(error)) from error


def _choose(
    source: Source, name: str, generation: int | None, handover: str | None, follow: bool
) -> Selection:
    if generation:
        return selection.generation(source, generation, to_come=follow)
    if not handover:
        return selection.everything(source)
    chosen = selection.handover(source, handover, _requested(name, handover))
    if chosen is None:
        reason = why_not_readable() or "`sockact history` shows the IDs of the last handovers"
        raise Failure(f"{name}: no line of handover {handover} in the journal; {reason}")
    return chosen


def _existing(
    source: Source, chosen: Selection, lines: int, begin: float | None
) -> Iterator[Entry]:
    source.journal.select(chosen.matches)
    begin = max(chosen.since, begin or 0.0)
    for fields in source.journal.newest(lines, begin, chosen.until):
        yield entry(fields, source.identifier)


def _show(entries: Iterator[Entry], as_json: bool) -> bool:
    """Print them as they come; whether there was one."""
    found = False
    for one in entries:
        found = True
        say(json.dumps(one.json()) if as_json else one.text())
    return found


def _explain(name: str, units: str) -> None:
    """Nothing was found. Raises Failure when nothing could be."""
    if reason := why_not_readable():
        raise Failure(f"{name}: no lines found; {reason}")
    complain(Failure(f"{name}: no lines found (looked for {units})"))


def _requested(name: str, handover: str) -> float | None:
    """When it was asked for, if the service runs and remembers it."""
    try:
        with service.one(name).connect() as connection:
            answer: JsonObject = connection.call("History", timeout=service.ANSWER_SECONDS)
    except Failure:
        return None
    known: list[dict[str, Any]] = [one for one in answer["handovers"] if one["id"] == handover]
    return known[0]["requested_usec"] / 1_000_000 if known else None
