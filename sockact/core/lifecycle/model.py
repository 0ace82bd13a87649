"""The nouns of the lifecycle: the service, its generations, its handovers.

Everything is immutable. Times are CLOCK_MONOTONIC seconds that the caller supplies.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.record import dataclass


class State(Enum):
    """The state of a generation. One that has drained is not listed any more."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    FAILED = "failed"


class Phase(Enum):
    """The state of the service as a whole."""

    STARTING = "starting"
    SERVING = "serving"
    RELOADING = "reloading"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Ready(Enum):
    """What proves that a generation serves."""

    INTEREST = "interest"
    NOTIFY = "notify"
    PROBE = "probe"


class Gate(Enum):
    """The valve on new connections.

    CLOSING and OPENING: the order is out. NONE: it could not be moved, for the reason beside it.
    """

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    OPENING = "opening"
    NONE = "none"


class Outcome(Enum):
    """How a handover ended."""

    PENDING = "pending"
    COMMITTED = "committed"
    FAILED = "failed"


@dataclass(frozen=True)
class Policy:
    """The settings that the lifecycle decides by. All times in seconds."""

    ready: Ready = Ready.INTEREST
    start_timeout: float = 90.0
    settle: float = 0.1
    """A generation that ends this soon after its first interest was never ready."""
    gate_timeout: float = 3.0
    """How long the program may take to report its gate before it counts as having none."""
    trial: float = 0.0
    """How long a successor serves alone, its predecessor paused, before it is committed."""
    probed: bool = False
    """A probe watches the trial, and has to pass at least once."""
    keep_predecessor: float = 0.0
    """How long a predecessor stays paused after the commit, for a rollback."""
    max_draining: int = 4
    """Of more generations that drain, the oldest is told to end."""
    drain_timeout: float = 60.0
    kill_timeout: float = 10.0
    census_interval: float = 0.05
    census_share: float = 0.05
    """At most this share of one core goes into counting connections."""
    backoff_first: float = 0.1
    backoff_limit: float = 30.0
    jitter: float = 0.0
    """By this part the waits between two launches are longer or shorter."""
    seed: float = 0.0
    """0 to 1, another one for each service."""
    stable_after: float = 10.0
    """A generation that served this long wipes out the crashes before it."""
    hooks: tuple[str, ...] = ()
    """The events for which a generation that is launched now has commands."""
    hook_bound: float = 10.0
    """No hook can take longer, with all that have to end before it."""


@dataclass(frozen=True)
class Exit:
    """How a process ended: `code` as exit() gave it, or the `signal` that killed it."""

    code: int = 0
    signal: int = 0

    @property
    def clean(self) -> bool:
        return self.code == 0 and self.signal == 0

    @property
    def status(self) -> int:
        """The exit status as a shell reports it (128 + signal)."""
        return 128 + self.signal if self.signal else self.code

    def __str__(self) -> str:
        if self.signal:
            return f"was killed by signal {self.signal}"
        return f"exited with status {self.code}"


@dataclass(frozen=True)
class Generation:
    """One launch of the program. It stays listed until the last of its processes has ended."""

    number: int
    state: State
    since: float
    """When it entered its state."""
    gate: Gate = Gate.OPEN
    gate_reason: str = ""
    start_deadline: float | None = None
    settle_at: float | None = None
    census_at: float | None = None
    gate_deadline: float | None = None
    trial_until: float | None = None
    """It serves on trial: its predecessor is paused."""
    trial_over: bool = False
    """Its time is over: it only waits for its hook."""
    trial_passed: bool = False
    """The probe of its trial has passed."""
    keep_until: float | None = None
    """It is paused after the commit of its successor, for a rollback."""
    last_responses: bool = False
    """It was asked to end each connection with its next response."""
    taken_back: bool = False
    """It was found to be no good: nobody goes back to it."""
    drain_deadline: float | None = None
    kill_at: float | None = None
    """SIGTERM was sent; SIGKILL is due at this time."""
    killed: bool = False
    """SIGKILL was sent; what is left gets it again."""
    idle_samples: int = 0
    interested: bool = False
    """It was seen waiting for connections."""
    hint: str = ""
    """What the operator should know if it never gets ready: the addresses that it bound, say."""
    refusal: str = ""
    """Why one of its binds was refused."""
    bound: bool = True
    """It has taken at least one listener."""
    ending: bool = False
    """It was told to end: signalled, or only waiting for its last processes."""
    exit: Exit | None = None
    """How its first process ended, once it has."""
    hooks: tuple[str, ...] = ()
    """The events for which it has commands."""
    introduced: bool = False
    """It serves, or has served, be it on trial: that was told to its hooks."""
    hook_until: float | None = None
    """Its end, or that of its trial, waits so long for its hook."""
    stop_for: str = ""
    """Why it is to end as soon as that hook has ended."""


@dataclass(frozen=True)
class Handover:
    """One reload, from the request to its outcome."""

    id: int
    requested: float
    predecessor: int | None
    successor: int
    outcome: Outcome = Outcome.PENDING
    reason: str = ""
    finished: float | None = None
    drained: bool = False
    kept: bool = False
    """The predecessor stays paused, for a rollback."""
    rollback: bool = False
    """Back to a generation that still is there, which is the successor here."""


@dataclass(frozen=True)
class Service:
    """The whole state of one service."""

    policy: Policy
    phase: Phase = Phase.STARTING
    generations: tuple[Generation, ...] = ()
    last_number: int = 0
    handover: Handover | None = None
    """The handover that is under way, else the last one."""
    queued: int | None = None
    """The id of the handover that starts when this one is over."""
    last_handover: int = 0
    crashes: int = 0
    respawn_at: float | None = None
    exit_status: int = 0

    def get(self, number: int) -> Generation | None:
        return next((g for g in self.generations if g.number == number), None)

    def only(self, *states: State) -> tuple[Generation, ...]:
        return tuple(g for g in self.generations if g.state in states)

    @property
    def serving(self) -> Generation | None:
        """The generation that clients should reach: running, or paused while its successor is
        probed before it is ready.
        """
        return next(iter(self.only(State.RUNNING)), self.paused)

    @property
    def paused(self) -> Generation | None:
        """The generation that is paused for as long as its successor is probed, or on trial."""
        return next((g for g in self.only(State.PAUSED) if g.keep_until is None), None)

    @property
    def kept(self) -> Generation | None:
        """The generation that stays paused for a rollback."""
        return next((g for g in self.generations if g.keep_until is not None), None)

    @property
    def on_trial(self) -> Generation | None:
        """The successor that serves on trial."""
        return next((g for g in self.generations if g.trial_until is not None), None)

    @property
    def fallback(self) -> Generation | None:
        """The generation that a rollback would go back to: the newest before the one that serves
        that can still take connections.
        """
        limit = self.serving.number if self.serving else self.last_number + 1
        there = [
            g
            for g in self.only(State.PAUSED, State.DRAINING)
            if g.number < limit
            and not (g.ending or g.taken_back)
            and g.exit is None
            and g.gate is not Gate.NONE
        ]
        return max(there, key=lambda g: g.number, default=None)

    @property
    def can_go_back(self) -> bool:
        """Is there somebody who serves when the last release, or the one under way, is given up?"""
        handover = self.handover
        if handover is None or not self.in_handover:
            return self.fallback is not None
        if self.on_trial is not None:
            return self.paused is not None
        return handover.rollback or self.serving is not None

    @property
    def pending(self) -> Generation | None:
        return next(iter(self.only(State.PENDING)), None)

    @property
    def in_handover(self) -> bool:
        return self.handover is not None and self.handover.outcome is Outcome.PENDING
