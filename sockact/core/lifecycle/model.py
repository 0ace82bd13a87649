"""The service, its generations and its handovers, as immutable records.

Times are CLOCK_MONOTONIC in seconds. Field names, defaults and the values of enums are carried to
other versions of sockact as JSON: they never change.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.canary.progress import Canary, Plan


class State(Enum):
    """The state of a generation. One that has drained is no longer listed."""

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
    """What proves that a generation is ready."""

    INTEREST = "interest"
    NOTIFY = "notify"
    PROBE = "probe"


class Gate(Enum):
    """Whether a generation accepts new connections.

    CLOSING and OPENING: the order is out. NONE: the order cannot be carried out, for the reason in
    `gate_reason`.
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
    """The settings that the lifecycle needs. All times are in seconds."""

    ready: Ready = Ready.INTEREST
    start_timeout: float = 90.0
    settle: float = 0.1
    """How long a generation has to wait for connections, and live, before it counts as ready."""
    gate_timeout: float = 3.0
    """How long the program may take to carry out an order to its gate."""
    warm: float = 0.0
    """How long a successor may be warmed up, at the most, before it gets clients; 0: not at all."""
    trial: float = 0.0
    """How long a successor serves alone, its predecessor paused, before the commit."""
    private_ready: bool = False
    """The probe of readiness reaches a successor alone, while its predecessor serves."""
    private_trial: bool = False
    """The probe of the trial does, so a successor on trial gets no clients."""
    probed: bool = False
    """A probe runs during the trial, and has to pass at least once."""
    keep_predecessor: float = 0.0
    """How long a predecessor stays paused after the commit, for a rollback."""
    max_draining: int = 4
    """Maximum number of draining generations; beyond it, the oldest is stopped."""
    drain_timeout: float = 60.0
    kill_timeout: float = 10.0
    census_interval: float = 0.05
    census_share: float = 0.05
    """Maximum share of one core that counting connections may take (0 to 1)."""
    backoff_first: float = 0.1
    backoff_limit: float = 30.0
    jitter: float = 0.0
    """Fraction by which the waits between two launches are longer or shorter (0 to 1)."""
    seed: float = 0.0
    """Differs from service to service (0 to 1)."""
    stable_after: float = 10.0
    """A generation that has served this long resets the count of crashes."""
    plan: Plan | None = None
    """How a successor gets clients, unless the reload says something else."""
    hooks: tuple[str, ...] = ()
    """The events for which new generations have commands."""
    hook_bound: float = 10.0
    """Longest time that a hook can take, including those that run before it."""


@dataclass(frozen=True)
class Exit:
    """How a process ended: its exit `code`, or the number of the `signal` that killed it."""

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
    """One launch of the program, listed until the last of its processes has ended."""

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
    warm_until: float | None = None
    """It is warmed up, until then at the most: its predecessor serves everybody."""
    warmth: str = ""
    """What its warm-up has come to."""
    trial_until: float | None = None
    """It serves on trial until then, its predecessor paused."""
    canary_until: float | None = None
    """It gets a share of the clients; what follows is decided then."""
    trial_over: bool = False
    """Its trial only waits for its hook."""
    trial_passed: bool = False
    """The probe of its trial has passed."""
    keep_until: float | None = None
    """It is paused after its successor's commit, and kept for a rollback until then."""
    last_responses: bool = False
    """It was asked to close each connection with its next response."""
    taken_back: bool = False
    """It was found to be bad: no rollback goes to it."""
    drain_deadline: float | None = None
    kill_at: float | None = None
    """The stop signal was sent; SIGKILL follows then."""
    finishing: bool = False
    """It was stopped when its connections were idle, and still has some: they get the rest of the
    drain timeout before `kill_at` is due."""
    killed: bool = False
    """SIGKILL was sent, and is repeated until no process is left."""
    idle_samples: int = 0
    interested: bool = False
    """It was seen waiting for connections."""
    hint: str = ""
    """What the operator should know if it never becomes ready: which addresses it bound, say."""
    refusal: str = ""
    """Why one of its binds was refused."""
    bound: bool = True
    """It has bound at least one listener."""
    misplaced: bool = False
    """The operator was told that it bound other addresses than the listeners'."""
    alone: bool = True
    """It shares its lane with no other generation, if there are lanes."""
    ending: bool = False
    """It was sent a signal to end, or only its last processes are left."""
    exit: Exit | None = None
    """How its first process ended, once it has."""
    hooks: tuple[str, ...] = ()
    """The events for which it has commands."""
    introduced: bool = False
    """It serves or has served, for good or on trial, and its hooks were told so."""
    hook_until: float | None = None
    """Its stop signal, or the end of its trial, waits for its hook until then."""
    stop_for: str = ""
    """Why it is to be stopped as soon as that hook has ended."""

    @property
    def times_out_at(self) -> float | None:
        """When the first of its time limits ends: that of its start, warm-up, trial, and so on."""
        due = (
            *(self.start_deadline, self.warm_until, self.trial_until, self.keep_until),
            *(self.canary_until, self.drain_deadline, self.kill_at),
        )
        return next((one for one in due if one is not None), None)


@dataclass(frozen=True)
class Handover:
    """One reload or rollback, from the request to its outcome."""

    id: int
    requested: float
    predecessor: int | None
    successor: int
    outcome: Outcome = Outcome.PENDING
    reason: str = ""
    finished: float | None = None
    drained: bool = False
    kept: bool = False
    """The predecessor is kept paused for a rollback."""
    rollback: bool = False
    """A rollback: the successor is a generation that was there before."""
    gives_up: bool = False
    """The predecessor does not serve: its clients wait for the successor."""


@dataclass(frozen=True)
class Pause:
    """The operator has paused the service: nobody accepts connections."""

    since: float
    until: float  # It ends by itself then.
    complete: bool = False  # Every gate has closed.
    ended: float | None = None
    reason: str = ""  # Why it has ended.


@dataclass(frozen=True)
class Service:
    """The whole state of one service."""

    policy: Policy
    phase: Phase = Phase.STARTING
    generations: tuple[Generation, ...] = ()
    last_number: int = 0
    handover: Handover | None = None
    """The handover under way, else the last one."""
    queued: int | None = None
    """The id of the handover that begins when this one is over."""
    last_handover: int = 0
    crashes: int = 0
    respawn_at: float | None = None
    exit_status: int = 0
    plan: Plan | None = None
    """How the successor of the handover under way gets clients, once it is ready; None: at once."""
    queued_plan: Plan | None = None  # The same for the queued handover.
    canary: Canary | None = None
    pause: Pause | None = None  # By the operator; or the last one.

    def get(self, number: int) -> Generation | None:
        """The listed generation with this number."""
        return next((g for g in self.generations if g.number == number), None)

    def only(self, *states: State) -> tuple[Generation, ...]:
        """The generations in one of these states, oldest first."""
        return tuple(g for g in self.generations if g.state in states)

    @property
    def serving(self) -> Generation | None:
        """The generation that should serve: running, or paused while its successor is probed
        before it is ready.
        """
        return next(iter(self.only(State.RUNNING)), self.paused)

    @property
    def paused(self) -> Generation | None:
        """The generation that is paused while its successor is probed or on trial."""
        return next((g for g in self.only(State.PAUSED) if g.keep_until is None), None)

    @property
    def kept(self) -> Generation | None:
        """The generation that is kept paused for a rollback."""
        return next((g for g in self.generations if g.keep_until is not None), None)

    @property
    def warming(self) -> Generation | None:
        """The successor that is warmed up."""
        return next((g for g in self.generations if g.warm_until is not None), None)

    @property
    def on_trial(self) -> Generation | None:
        """The successor that serves on trial."""
        return next((g for g in self.generations if g.trial_until is not None), None)

    @property
    def predecessor(self) -> Generation | None:
        """The generation that has all clients again if the successor, which is being warmed up, on
        trial or a canary, fails.
        """
        before = self.get((self.handover and self.handover.predecessor) or 0)
        if self.paused or not self.in_handover or before is None:
            return self.paused
        return before if before.state is State.RUNNING else None

    @property
    def fallback(self) -> Generation | None:
        """The generation that a rollback would switch to: the newest before the serving one that
        can still accept connections.
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
        """Whether a rollback is possible: a generation would serve if the last release, or the one
        under way, were taken back.
        """
        handover = self.handover
        if handover is None or not self.in_handover:
            return self.fallback is not None
        if self.on_trial is not None:
            return self.predecessor is not None
        return handover.rollback or self.serving is not None

    @property
    def pending(self) -> Generation | None:
        return next(iter(self.only(State.PENDING)), None)

    @property
    def is_paused(self) -> bool:
        """Whether the operator has paused the service."""
        return self.pause is not None and self.pause.ended is None

    @property
    def in_handover(self) -> bool:
        return self.handover is not None and self.handover.outcome is Outcome.PENDING
