"""What in a service's units breaks the promise that no client notices a reload.

Each finding names the line to write. Pure: facts in, findings out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.settings import Settings
    from sockact.units.facts import Facts


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Clients or the operator meet it."""
    WARNING = "warning"
    """They meet it when something else happens, too."""


@dataclass(frozen=True)
class Finding:
    """One thing to change."""

    level: Level
    unit: str
    setting: str
    """What is written there now, or "" for something that is missing."""
    message: str
    write: str
    """The line to write, or what else to do."""

    def __str__(self) -> str:
        what = f"{self.setting}: {self.message}" if self.setting else self.message
        return f"{self.level}: {self.unit}: {what}; {self.write}"


def check(facts: Facts, settings: Settings | None) -> list[Finding]:
    """All findings, errors first. `settings` are those of `sockact run`; None: cannot be read."""
    from sockact.units.check import life, limits, sockets, wrapped

    def found() -> Iterator[Finding]:
        yield from wrapped.findings(facts)
        if facts.options is None and not life.by_shell(facts):
            # All that could be said besides is what a wrap does.
            yield wrapped.not_run(facts)
            return
        for rules in (life, sockets, limits):
            yield from rules.findings(facts, settings)

    return sorted(found(), key=lambda finding: finding.level is Level.WARNING)
