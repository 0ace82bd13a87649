"""What a rule of `sockact check` reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Clients or the operator notice it in everyday use."""
    WARNING = "warning"
    """They notice it only if something else goes wrong, too."""
    ADVICE = "advice"
    """Nothing is wrong, but more would be possible."""


ERROR, WARNING, ADVICE = Level.ERROR, Level.WARNING, Level.ADVICE


@dataclass(frozen=True)
class Finding:
    """One thing to change."""

    level: Level
    unit: str
    setting: str
    """The current setting, or "" if one is missing."""
    message: str
    write: str
    """The line to write, or what else to do."""

    def __str__(self) -> str:
        what = f"{self.setting}: {self.message}" if self.setting else self.message
        return f"{self.level}: {self.unit}: {what}; {self.write}"
