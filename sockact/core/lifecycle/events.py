"""Events: everything that the lifecycle hears of the world. Late news changes nothing."""

from __future__ import annotations

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.canary.progress import Plan
    from sockact.core.canary.verdict import Judgement
    from sockact.core.lifecycle.model import Exit, Gate


@dataclass(frozen=True)
class Start:
    """The supervisor is ready to launch the program."""


@dataclass(frozen=True)
class Reload:
    """A reload is asked for. With a plan, the successor gets clients step by step."""

    plan: Plan | None = None
    gives_up: bool = False
    """The generation that should serve does not: its clients wait for the successor."""


@dataclass(frozen=True)
class Stop:
    """The service is to stop; `now` skips the drain."""

    now: bool = False


@dataclass(frozen=True)
class Hurry:
    """A second request to stop: the drain is shortened."""


@dataclass(frozen=True)
class Rollback:
    """A rollback to the previous generation is asked for."""


@dataclass(frozen=True)
class Pause:
    """The operator wants nobody to accept connections, for this many seconds at most."""

    seconds: float


@dataclass(frozen=True)
class Resume:
    """The operator ends the pause."""


@dataclass(frozen=True)
class Promote:
    """The canary is to get all clients."""


@dataclass(frozen=True)
class Share:
    """The canary is to get this share of the new clients, in thousandths, and to keep it."""

    share: int


@dataclass(frozen=True)
class Judged:
    """A verdict on the canary."""

    number: int
    judgement: Judgement


@dataclass(frozen=True)
class Interest:
    """The generation was seen waiting for connections on every listener."""

    number: int


@dataclass(frozen=True)
class Observed:
    """What is known of a pending generation: why it may never become ready (`hint`), and why one of
    its binds was refused.

    `misplaced`: the operator should know the hint now, because it bound other addresses than the
    listeners'. `hopeless`: it will not bind them any more. `alone`: it shares its lane with no
    other generation, if there are lanes.
    """

    number: int
    bound: bool
    hint: str
    refusal: str = ""
    misplaced: bool = False
    hopeless: bool = False
    alone: bool = True


@dataclass(frozen=True)
class Proven:
    """The configured proof of readiness: READY=1 came, or the probe passed."""

    number: int


@dataclass(frozen=True)
class Warming:
    """What the warm-up of the generation has come to, for the operator."""

    number: int
    progress: str


@dataclass(frozen=True)
class Warmed:
    """The warm-up is over; `reason` says why the generation may not be warm."""

    number: int
    reason: str = ""


@dataclass(frozen=True)
class TrialPassed:
    """The probe of the trial has passed once."""

    number: int


@dataclass(frozen=True)
class TrialFailed:
    """The generation on trial is bad."""

    number: int
    reason: str


@dataclass(frozen=True)
class LaunchFailed:
    """The program could not be executed."""

    number: int
    reason: str


@dataclass(frozen=True)
class Unreachable:
    """No client can connect to the generation, although it is ready."""

    number: int
    reason: str


@dataclass(frozen=True)
class Exited:
    """The first process of the generation has ended; others may live."""

    number: int
    exit: Exit


@dataclass(frozen=True)
class Gone:
    """The last process of the generation has ended.

    `failure` is how a process other than the first ended, if one did not end cleanly; the last one
    counts.
    """

    number: int
    failure: Exit | None = None


@dataclass(frozen=True)
class GateMoved:
    """An order to a gate was carried out, or cannot be (NONE, with the reason)."""

    number: int
    gate: Gate
    reason: str = ""


@dataclass(frozen=True)
class Census:
    """The number of connections by activity, or at least one that still needs the generation."""

    number: int
    busy: int
    fresh: int
    quiet: int
    look_in: float | None = None
    """Seconds until the next census is worth its cost; None: the policy's interval."""
    settled: bool = False
    """No connection can be accepted any more: one idle sample is enough."""


@dataclass(frozen=True)
class Explained:
    """What the successor of a failed handover wrote explains its failure: `reason` is the new
    reason of the handover with this id.
    """

    id: int
    reason: str


@dataclass(frozen=True)
class HookEnded:
    """The generation's commands for this event have ended; `reason` says how one failed."""

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
    | Pause
    | Resume
    | Promote
    | Share
    | Judged
    | Interest
    | Observed
    | Proven
    | Warming
    | Warmed
    | TrialPassed
    | TrialFailed
    | LaunchFailed
    | Unreachable
    | Exited
    | Gone
    | GateMoved
    | Census
    | Explained
    | HookEnded
    | Tick
)
