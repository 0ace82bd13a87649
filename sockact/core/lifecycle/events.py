"""What happened: everything that the lifecycle hears of the world. Late news changes nothing."""

from __future__ import annotations

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Exit, Gate


@dataclass(frozen=True)
class Start:
    """The supervisor is set up."""


@dataclass(frozen=True)
class Reload:
    """Somebody asks for a handover."""


@dataclass(frozen=True)
class Stop:
    """Somebody asks for the end; `now` skips the drain."""

    now: bool = False


@dataclass(frozen=True)
class Hurry:
    """Somebody who has asked for the end asks again: the drain has to be over soon."""


@dataclass(frozen=True)
class Rollback:
    """Somebody wants the generation back that served before."""


@dataclass(frozen=True)
class Interest:
    """The generation was seen waiting for connections on every listener."""

    number: int


@dataclass(frozen=True)
class Observed:
    """What is known of a pending generation, in case it never gets ready."""

    number: int
    bound: bool
    hint: str
    refusal: str = ""


@dataclass(frozen=True)
class Proven:
    """The configured proof arrived: READY=1, or the probe passed."""

    number: int


@dataclass(frozen=True)
class TrialPassed:
    """The probe of the generation's trial has passed once."""

    number: int


@dataclass(frozen=True)
class TrialFailed:
    """The generation on trial is no good."""

    number: int
    reason: str


@dataclass(frozen=True)
class LaunchFailed:
    """The program could not be executed."""

    number: int
    reason: str


@dataclass(frozen=True)
class Exited:
    """The first process of the generation ended; others may live."""

    number: int
    exit: Exit


@dataclass(frozen=True)
class Gone:
    """The last process of the generation ended.

    `failure` is how the last of its other processes ended that did not end cleanly, if one did.
    """

    number: int
    failure: Exit | None = None


@dataclass(frozen=True)
class GateMoved:
    """A gate order was carried out, or cannot be (NONE, with the reason)."""

    number: int
    gate: Gate
    reason: str = ""


@dataclass(frozen=True)
class Census:
    """The generation's connections were counted, or at least one that needs it was seen."""

    number: int
    busy: int
    fresh: int
    quiet: int
    look_in: float | None = None
    """Seconds until the next look is worth its cost; None: the policy's interval."""
    settled: bool = False
    """Nothing can be accepted any more: there is no need to look twice."""


@dataclass(frozen=True)
class HookEnded:
    """The commands for this event of the generation have ended; `reason`: how one has failed."""

    number: int
    event: str
    reason: str = ""


@dataclass(frozen=True)
class Tick:
    """A deadline may have passed."""


Event = (
    Start
    | Reload
    | Stop
    | Hurry
    | Rollback
    | Interest
    | Observed
    | Proven
    | TrialPassed
    | TrialFailed
    | LaunchFailed
    | Exited
    | Gone
    | GateMoved
    | Census
    | HookEnded
    | Tick
)
