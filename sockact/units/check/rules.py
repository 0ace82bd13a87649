"""All rules of `sockact check` together. Pure: facts in, findings out."""

from __future__ import annotations

from sockact.units.check import lanes, lifecycle, permissions, sockets, wrapped
from sockact.units.check.finding import Level

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.settings import Settings
    from sockact.units.check.finding import Finding
    from sockact.units.facts import Facts


def check(facts: Facts, settings: Settings | None) -> list[Finding]:
    """All findings, the worst first. `settings` are those of `sockact run`, None if unreadable."""
    order = [*Level]
    return sorted(_findings(facts, settings), key=lambda finding: order.index(finding.level))


def _findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    yield from wrapped.findings(facts)
    if facts.options is None and not lifecycle.started_by_shell(facts):
        # `sockact wrap` would change everything that the other rules could report.
        yield wrapped.not_run(facts)
        return
    for rules in (lifecycle, sockets, lanes, permissions):
        yield from rules.findings(facts, settings)
