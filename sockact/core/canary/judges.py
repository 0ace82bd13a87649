"""Judges: who is asked about a canary besides what is counted, and how their answers combine.

`promql:URL QUERY < LIMIT` asks a Prometheus server: the canary is good while the comparison holds.
`exec:COMMAND` runs a command: exit status 0 says good, 1 worse. A judge that cannot say neither
refuses a canary nor promotes it.
"""

from __future__ import annotations

import math

from sockact.core.canary.verdict import Judgement, Verdict
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPARISONS = ("<", ">", "<=", ">=")
MOST = 8
"""Judges of one canary."""
LONGEST = 4000
"""Characters of a judge."""
NAMES = ("generation", "version", "baseline", "baseline_version")
"""What a query may have in braces; `baseline` is the previous generation."""
_FORMS = "use 'promql:URL QUERY < LIMIT' or exec:COMMAND"
_QUOTES = "\"'`"


@dataclass(frozen=True)
class Command:
    """Exit status 0: good; 1: worse; any other: it cannot say."""

    line: str
    """For the shell."""

    @property
    def name(self) -> str:
        """What the operator knows it by."""
        return self.line.split()[0]


@dataclass(frozen=True)
class Query:
    """Good if the result of the query compares so with the limit."""

    url: str
    """Of the server, without /api/v1/query."""
    query: str
    comparison: str
    limit: str

    @property
    def name(self) -> str:
        """What the operator knows it by."""
        return "promql"


def parse(text: str) -> Command | Query:
    """Read a judge. Raises ValueError, which says in one line what to write instead."""
    kind, colon, rest = text.partition(":")
    if len(text) > LONGEST:
        raise ValueError(f"a judge must not be longer than {LONGEST} characters")
    if "\0" in text:
        raise ValueError("a judge must not contain a NUL character")
    if kind == "exec" and rest.strip():
        return Command(rest)
    if kind != "promql" or not colon:
        raise ValueError(f"{text!r} is not a judge; {_FORMS}")
    url, _, condition = rest.partition(" ")
    words = condition.rsplit(None, 2)
    if len(words) < 3 or words[1] not in COMPARISONS or not _is_number(words[2]):
        raise ValueError(
            f"{text!r} has no comparison; write 'promql:URL QUERY < LIMIT' with one of "
            f"{' '.join(COMPARISONS)} and a number"
        )
    _check_url(url)
    query = words[0].strip()
    for name in NAMES:
        before, found, _ = query.partition(f"{{{name}}}")
        if found and before[-1:] in (*_QUOTES,):
            raise ValueError(f"write {{{name}}} without quotes in a query; sockact adds them")
    return Query(url.rstrip("/"), query, words[1], words[2])


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_url(url: str) -> None:
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    plain = url.isascii() and url.isprintable() and not {*url} & {*"?#"}
    if scheme not in ("http", "https") or not host or not plain:
        raise ValueError(
            f"{url!r} is not the URL of a server; use one such as http://localhost:9090"
        )
    if "@" in host:
        raise ValueError(f"{url!r} names a user, which is not sent; use exec:COMMAND")


def filled(query: str, values: Mapping[str, str]) -> str:
    """The query with its names in braces replaced by strings of PromQL."""
    first, *rest = query.split("{")
    found = [first]
    for part in rest:
        name, brace, after = part.partition("}")
        known = brace and name in values
        found.append(_quoted(values[name]) + after if known else "{" + part)
    return "".join(found)


def _quoted(text: str) -> str:
    """As a string of PromQL, which has the escapes of Go."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return '"' + "".join(x if x.isprintable() else f"\\U{ord(x):08x}" for x in escaped) + '"'


def combine(counted: Judgement, judges: Sequence[Judgement]) -> Judgement:
    """The verdict of what is counted and of all judges: worse if any is, then the least certain.

    Where nothing is counted, the judges alone decide.
    """
    every = (counted, *judges)
    for verdict in (Verdict.WORSE, Verdict.PENDING, Verdict.NOT_ENOUGH, Verdict.BETTER_OR_SAME):
        if found := [one for one in every if one.verdict is verdict]:
            return Judgement(verdict, tuple(text for one in found for text in one.reasons))
    return counted
