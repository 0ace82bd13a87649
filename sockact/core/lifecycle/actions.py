"""Actions: everything that the lifecycle asks the supervisor to do."""

from __future__ import annotations

from sockact.core.message_kinds import News
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Handover, Pause, Phase


IDLE = "all connections finished"
"""Reason of Terminate when no connection needs the generation any more."""


@dataclass(frozen=True)
class Spawn:
    """Launch the program as this generation, and watch for its readiness."""

    number: int


@dataclass(frozen=True)
class StartProbe:
    """Run the configured probe until it passes."""

    number: int


@dataclass(frozen=True)
class StartWarmUp:
    """Send the generation requests that reach nobody else; answered by Warming and Warmed."""

    number: int


@dataclass(frozen=True)
class StartTrial:
    """Watch the generation until its trial is over. If it is watched already, go on."""

    number: int


@dataclass(frozen=True)
class MoveGate:
    """Close or open the generation's gate; answered by GateMoved."""

    number: int
    closed: bool
    hold: bool = False
    """If it cannot be closed in the program, let no connection begin at its listeners: nobody else
    is to get them."""


@dataclass(frozen=True)
class EndPause:
    """Let connections begin again at all listeners, and record the pause by the operator."""

    pause: Pause


@dataclass(frozen=True)
class LastResponses:
    """Ask the generation to close each connection with its next response."""

    number: int


@dataclass(frozen=True)
class KeepConnections:
    """Undo LastResponses: the generation may keep its connections."""

    number: int


@dataclass(frozen=True)
class TakeCensus:
    """Count the generation's connections; answered by Census."""

    number: int


@dataclass(frozen=True)
class Terminate:
    """Send the generation its stop signal. Without a reason, nothing is reported."""

    number: int
    reason: str = ""


@dataclass(frozen=True)
class Kill:
    """Send SIGKILL to every process of the generation. Without a reason, nothing is reported."""

    number: int
    reason: str = ""
    cuts_off: bool = False
    """It still has connections, which this ends."""


@dataclass(frozen=True)
class Announce:
    """Tell systemd that the service has entered this phase."""

    phase: Phase


@dataclass(frozen=True)
class Finish:
    """Report the outcome of a handover."""

    handover: Handover


@dataclass(frozen=True)
class Drained:
    """Report that the last process of a draining generation has ended."""

    number: int


@dataclass(frozen=True)
class Report:
    """Report a message about the generation to the operator."""

    number: int
    message: str
    error: bool = False
    news: News = News.NOTE


@dataclass(frozen=True)
class Quit:
    """End the supervisor with this exit status: no process is left."""

    status: int


Action = (
    Spawn
    | StartProbe
    | StartWarmUp
    | StartTrial
    | MoveGate
    | EndPause
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
