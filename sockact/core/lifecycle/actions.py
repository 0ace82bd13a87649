"""What to do about it: everything that the lifecycle asks of the supervisor."""

from __future__ import annotations

from sockact.core.news import News
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Handover, Phase


IDLE = "nothing is busy or fresh"
"""The reason of Terminate when nobody needs the generation any more."""


@dataclass(frozen=True)
class Spawn:
    """Launch the program as this generation and watch for its readiness."""

    number: int


@dataclass(frozen=True)
class StartProbe:
    """Run the configured probe against the generation until it passes."""

    number: int


@dataclass(frozen=True)
class StartTrial:
    """Watch the generation from now on, until its trial is over; again: go on."""

    number: int


@dataclass(frozen=True)
class MoveGate:
    """Close or open the generation's gate; answered by GateMoved."""

    number: int
    closed: bool


@dataclass(frozen=True)
class LastResponses:
    """Ask the generation to close each connection with its next response."""

    number: int


@dataclass(frozen=True)
class KeepConnections:
    """Take LastResponses back: the generation may keep its connections again."""

    number: int


@dataclass(frozen=True)
class TakeCensus:
    """Count the generation's connections; answered by Census."""

    number: int


@dataclass(frozen=True)
class Terminate:
    """Ask the generation to end (its stop signal). No reason: it is reported elsewhere."""

    number: int
    reason: str = ""


@dataclass(frozen=True)
class Kill:
    """SIGKILL to every process of the generation. No reason: it is reported elsewhere."""

    number: int
    reason: str = ""


@dataclass(frozen=True)
class Announce:
    """The service entered this phase: tell systemd."""

    phase: Phase


@dataclass(frozen=True)
class Finish:
    """A handover has its outcome."""

    handover: Handover


@dataclass(frozen=True)
class Drained:
    """The last process of a drained predecessor ended."""

    number: int


@dataclass(frozen=True)
class Report:
    """Something that the operator should read."""

    number: int
    message: str
    error: bool = False
    news: News = News.NOTE


@dataclass(frozen=True)
class Quit:
    """Nothing is left: end the supervisor with this status."""

    status: int


Action = (
    Spawn
    | StartProbe
    | StartTrial
    | MoveGate
    | LastResponses
    | KeepConnections
    | TakeCensus
    | Terminate
    | Kill
    | Announce
    | Finish
    | Drained
    | Report
    | Quit
)
