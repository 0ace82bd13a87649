"""What of a service's lines is to be shown: all, those of a generation, those of a handover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sockact.cli.journal import matches
from sockact.cli.journal.entry import entry

if TYPE_CHECKING:
    from sockact.cli.journal.entry import Entry
    from sockact.cli.journal.matches import Clause, Matches
    from sockact.cli.journal.reader import Journal

# The supervisor's lines about one handover are a handful.
_MOST_LINES = 1000
# What a program has written to its standard error comes a moment after it has ended.
_GRACE_SECONDS = 1.0
# Generations, one of which has probably written a line.
_LOOKED_BACK = 20
_DECIDES = {"serves", "reload_failed", "serves_again", "rollback_failed"}


@dataclass(frozen=True)
class Selection:
    """Lines within a time, in seconds since 1970; `note` says what could not be told apart."""

    matches: Matches
    since: float = 0.0
    until: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Source:
    """Where the lines of a service are found."""

    journal: Journal
    lines: Clause
    identifier: str

    def newest(
        self, *clauses: Clause, count: int = 1, since: float = 0.0, until: float | None = None
    ) -> list[Entry]:
        """Return the newest lines of the service that match all of these clauses."""
        self.journal.select((self.lines, *clauses))
        found = self.journal.newest(count, since, until)
        return [entry(fields, self.identifier) for fields in found]


def everything(source: Source) -> Selection:
    """All lines."""
    return Selection((source.lines,))


def generation(source: Source, number: int, *, to_come: bool) -> Selection:
    """The newest generation of this number: a start of the unit begins to count anew. With
    `to_come` all of them, since the next may be of the next start.
    """
    said = matches.of_generation(number)
    written = matches.by_program(source.identifier, number)
    newest = source.newest((said, written))
    invocation = newest[0].invocation if newest else ""
    run = (matches.of_invocation(invocation),) if invocation and not to_come else ()
    note = "" if not newest or _is_marked(source, number, invocation) else _note(source, number)
    return Selection((source.lines, (said, written), *run), note=note)


def handover(source: Source, key: str, requested: float | None) -> Selection | None:
    """The handover with this id, and what its successor wrote meanwhile; None when there is no
    line of it. `requested` is when it began, where that is known.
    """
    said = matches.of_handover(key)
    entries = source.newest((said,), count=_MOST_LINES)
    if not entries:
        return None
    numbers = [one.generation for one in entries if one.event in _DECIDES]
    number = numbers[-1] if numbers else max(one.generation for one in entries)
    invocation = entries[-1].invocation
    until = entries[-1].usec / 1_000_000 + _GRACE_SECONDS
    if _is_marked(source, number, invocation):
        written = matches.by_program(source.identifier, number, invocation)
        return Selection((source.lines, (said, written)), until=until)
    begun = entries[0].usec / 1_000_000 if requested is None else requested
    note = f"{_note(source, number)}; these are all lines from the time of the handover"
    return Selection((source.lines,), begun, until, note)


def _is_marked(source: Source, number: int, invocation: str) -> bool:
    """Whether the program's lines tell its generation: it, or one before it, has written some."""
    latest = range(max(1, number - _LOOKED_BACK), number + 1)
    terms = (matches.by_program(source.identifier, one, invocation) for one in latest)
    return bool(source.newest(tuple(terms)))


def _note(source: Source, number: int) -> str:
    return (
        f"cannot tell which lines generation {number} wrote: the service does not run with "
        f"--identifier {source.identifier}"
    )
