"""The state that an upgrade carries over to the next version of sockact: docs/upgrade.md.

One record, written as JSON. Descriptors keep their numbers, because the process stays the same.
Bytes are strings of the same Latin-1 characters. Times are those of core/lifecycle/model.py, unless
stated otherwise.

FORMAT is part of the data. Fields with a default may be added to any record here and in
core/lifecycle/model.py; any other change needs a new format, and `read` must still read the earlier
ones.
"""

from __future__ import annotations

from sockact.core import json_text
from sockact.core.canary.evidence import Evidence, Wealth
from sockact.core.canary.progress import Canary, Plan, Progress
from sockact.core.canary.sample import Pair, Sample
from sockact.core.canary.schedule import Schedule, Step
from sockact.core.canary.verdict import Judgement, Unsure, Verdict
from sockact.core.history.failures import Failure
from sockact.core.history.ledger import Account, Failures, LedgerEntry, Span, Times, Totals
from sockact.core.history.pauses import PauseEntry
from sockact.core.json_data import Reader, plain
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Generation,
    Handover,
    Outcome,
    Pause,
    Phase,
    Service,
    State,
)
from sockact.core.record import dataclass
from sockact.core.settings import Adopt
from sockact.handover.gate import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Policy

FORMAT = 1


@dataclass(frozen=True)
class CarriedService:
    """A core.lifecycle.model.Service without its policy, which follows from the settings."""

    phase: Phase
    generations: tuple[Generation, ...]
    last_number: int
    handover: Handover | None
    queued: int | None
    last_handover: int
    crashes: int
    respawn_at: float | None
    exit_status: int
    plan: Plan | None = None
    queued_plan: Plan | None = None
    canary: Canary | None = None
    pause: Pause | None = None


@dataclass(frozen=True)
class CarriedOption:
    """A socket option, as getsockopt(2) returns it."""

    level: int
    option: int
    value: str


@dataclass(frozen=True)
class CarriedListener:
    """A listener; its address is that of the socket."""

    fd: int
    name: str
    owned: bool
    options: tuple[CarriedOption, ...] = ()
    """Those that it had before a program changed them."""
    lane: int = 0


@dataclass(frozen=True)
class CarriedRelay:
    """The output relay of a generation: what it has not passed on yet, and the last lines."""

    fd: int
    rest: str
    tail: str
    stream: int | None = None
    """A stream to the journal under an identifier of its own, if the output goes there."""


@dataclass(frozen=True)
class CarriedNotifySocket:
    """A generation's own $NOTIFY_SOCKET."""

    fd: int
    alive_at: float | None
    path: str = ""
    """Its socket file; "": it has an abstract name."""


@dataclass(frozen=True)
class CarriedGeneration:
    """What the supervisor holds for one generation. `started` is CLOCK_REALTIME."""

    number: int
    pid: int
    started: float
    notifications: int | None
    """Descriptor of its seccomp filter."""
    notified: CarriedNotifySocket | None
    pump: CarriedRelay | None
    """Of its standard error."""
    removed: tuple[Entry, ...]
    """The epoll entries of its listeners that were removed."""
    unfit: tuple[str, ...]
    """The adapters that were reported as unfit."""
    version: str = ""
    """Version of its release."""
    settings: str = ""
    """The settings that it was launched with, as JSON; "" for those of the service."""
    users: tuple[int, ...] = ()
    """The users that its first process has had."""
    unlisted: tuple[str, ...] = ()
    """The addresses that it bound with SO_REUSEPORT and that have no listener."""
    guardian: int | None = None
    """Descriptor that keeps its guardian waiting."""
    lane: int = 0
    bypassed: bool = False  # New clients are steered past its lane.
    output: CarriedRelay | None = None  # Of its standard output.


@dataclass(frozen=True)
class CarriedProcess:
    """A process of a generation: its first one, a child of the supervisor, or another one."""

    pid: int
    generation: int
    started: int = 0
    """Clock ticks since boot; 0 for a first process."""


@dataclass(frozen=True)
class CarriedExit:
    """How a process ended that was not the first one of its generation."""

    generation: int
    exit: Exit


@dataclass(frozen=True)
class CarriedConnection:
    """A client of the control socket. `call` is the one that it waits for: "", Status, Upgrade."""

    fd: int
    call: str
    received: str
    unsent: str
    ended: bool


@dataclass(frozen=True)
class CarriedHistory:
    """The recent failures and starts, at CLOCK_REALTIME."""

    failures: tuple[Failure, ...]
    starts: tuple[float, ...]
    account: Account | None = None
    """The ledger, open entries included."""


@dataclass(frozen=True)
class CarriedStoreRequest:
    """A request to systemd's file descriptor store, under this name, that is not sent yet."""

    name: str
    text: str
    fd: int | None


@dataclass(frozen=True)
class CarriedNotification:
    """A status notification to systemd that is not sent yet."""

    name: str
    more: str


@dataclass(frozen=True)
class CarriedLog:
    """The state of a log. `before_lines` and `before_bytes` were dropped by earlier log pumps,
    `dropped_lines` and `dropped_bytes` by this one; `said` is the number of lines reported.
    """

    before_lines: int
    before_bytes: int
    dropped_lines: int
    dropped_bytes: int
    said: int
    waiting: int
    error: str


@dataclass(frozen=True)
class CarriedLogPipe:
    """The read end of a pipe from a generation (0: it is gone) to the log with this number."""

    key: int
    generation: int
    log: int
    fd: int


@dataclass(frozen=True)
class CarriedLogs:
    """The log pump, and the socket to it."""

    pid: int
    channel: int
    states: tuple[CarriedLog, ...]
    last_key: int
    pipes: tuple[CarriedLogPipe, ...]


@dataclass(frozen=True)
class CarriedProgram:
    """The supervised program: its generations, processes, logs and history."""

    adopt: Adopt
    """The way in use, never AUTO."""
    shim_address: str
    calls: int
    """Descriptor of the socket at that address."""
    service: CarriedService
    generations: tuple[CarriedGeneration, ...]
    roots: tuple[CarriedProcess, ...]
    known: tuple[CarriedProcess, ...]
    failures: tuple[CarriedExit, ...]
    history: CarriedHistory
    failed_handover: int
    """The failed handover whose last lines are in `failed_lines`."""
    failed_lines: tuple[str, ...]
    logs: CarriedLogs | None = None
    shim_socket: int | None = None  # Descriptor of the socket that the shims try first.
    shim_path: str = ""  # The path of that socket.
    steered: int = 0  # The lane that new clients wait in.
    lane_orders: tuple[tuple[int, ...], ...] = ()  # Of each address, by their numbers.
    evidence: Evidence | None = None  # What is known of a canary under way.


@dataclass(frozen=True)
class CarriedSupervisor:
    """The whole state."""

    version: str
    """The version of sockact that wrote this."""
    pid: int
    command_name: str
    """As `ps -o comm` shows it."""
    settings: str
    """The settings in force, as JSON."""
    directory: str
    """The directory of the lock and the control socket."""
    made_directory: bool
    lock: int
    files: int | None
    """Soft limit of open files for the program."""
    stores: bool
    """Whether systemd stores descriptors."""
    files_untold: tuple[CarriedStoreRequest, ...]
    states_untold: tuple[CarriedNotification, ...]
    listeners: tuple[CarriedListener, ...]
    control: int
    connections: tuple[CarriedConnection, ...]
    engine: CarriedProgram
    anew: str = ""
    """Why the service must be restarted; only the listeners are carried over then."""
    inotify: int | None = None  # Descriptor with the watched directories and pending events.

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across execve(2)."""
        found = [self.lock, *(listener.fd for listener in self.listeners)]
        if self.anew:
            return found
        if self.inotify is not None:
            found.append(self.inotify)
        found += [file.fd for file in self.files_untold if file.fd is not None]
        found += [self.engine.calls, self.control, *(one.fd for one in self.connections)]
        if self.engine.shim_socket is not None:
            found.append(self.engine.shim_socket)
        for generation in self.engine.generations:
            if generation.guardian is not None:
                found.append(generation.guardian)
            if generation.notifications is not None:
                found.append(generation.notifications)
            relays = [one for one in (generation.output, generation.pump) if one]
            found += [one.fd for one in (generation.notified, *relays) if one]
            found += {one.stream for one in relays if one.stream is not None}
        if self.engine.logs:
            found += [self.engine.logs.channel, *(one.fd for one in self.engine.logs.pipes)]
        return found


_READER = Reader(
    *(CarriedSupervisor, CarriedProgram, CarriedService),
    *(CarriedGeneration, CarriedRelay, CarriedNotifySocket),
    *(CarriedListener, CarriedOption, CarriedProcess, CarriedExit, CarriedConnection),
    *(CarriedHistory, CarriedStoreRequest, CarriedNotification),
    *(Account, Failures, LedgerEntry, PauseEntry, Span, Times, Totals),
    *(CarriedLogs, CarriedLog, CarriedLogPipe),
    *(Canary, Judgement, Plan, Progress, Schedule, Step, Unsure, Verdict),
    *(Evidence, Pair, Sample, Wealth),
    *(Adopt, Entry, Exit, Failure, Gate, Generation, Handover, Outcome, Pause, Phase, State),
)


def write(carried: CarriedSupervisor) -> bytes:
    """Return the state as JSON, for `read`."""
    return json_text.encode({"format": FORMAT, "state": plain(carried)}).encode()


def read(data: bytes) -> CarriedSupervisor:
    """Read what `write` wrote. Raises ValueError, which says what this version cannot read."""
    try:
        found = json_text.decode(data.decode())
    except RecursionError:
        raise ValueError("its state is nested too deeply") from None
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise ValueError(
            f"its state has format {number}, but this version of sockact reads format {FORMAT}"
        )
    return _READER.read(CarriedSupervisor, found.get("state"))


def service_of(service: Service) -> CarriedService:
    """Return a service without its policy."""
    return CarriedService(*(getattr(service, name) for name in CarriedService.__match_args__))


def service_from(carried: CarriedService, policy: Policy) -> Service:
    """Return the service with this policy."""
    fields = {name: getattr(carried, name) for name in CarriedService.__match_args__}
    return Service(policy, **fields)
