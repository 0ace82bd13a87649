"""What a supervisor leaves to the one that takes its place: docs/upgrade.md.

One record, as JSON. Numbers of descriptors are those of the process, which stays the same. Bytes
are texts of the same Latin-1 characters. Times as in core/lifecycle/model.py, unless they say
otherwise.

FORMAT is part of the data. A field with a default may be added to any record here and in
core/lifecycle/model.py; whatever else changes needs a new number, and `read` has to know the ones
before.
"""

from __future__ import annotations

import json

from sockact.core.history.failures import Failure
from sockact.core.history.ledger import Account, Failures, LedgerEntry, Span, Times, Totals
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Generation,
    Handover,
    Outcome,
    Phase,
    Service,
    State,
)
from sockact.core.plain import Reader, plain
from sockact.core.record import dataclass
from sockact.core.settings import Adopt
from sockact.handover.gate import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.lifecycle.model import Policy

FORMAT = 1


@dataclass(frozen=True)
class CarriedService:
    """core.model.Service, but for its policy, which follows from the settings."""

    phase: Phase
    generations: tuple[Generation, ...]
    last_number: int
    handover: Handover | None
    queued: int | None
    last_handover: int
    crashes: int
    respawn_at: float | None
    exit_status: int


@dataclass(frozen=True)
class CarriedListener:
    """A listener; its address is the socket's."""

    fd: int
    name: str
    owned: bool


@dataclass(frozen=True)
class CarriedRelay:
    """The stderr of a successor: what was read and not yet passed on, and its last lines."""

    fd: int
    rest: str
    tail: str
    stream: int | None = None
    """Where it goes, if that is the journal under an identifier of its own."""


@dataclass(frozen=True)
class CarriedNotifySocket:
    """A generation's own $NOTIFY_SOCKET."""

    fd: int
    alive_at: float | None


@dataclass(frozen=True)
class CarriedGeneration:
    """What is held for one generation. `started` is CLOCK_REALTIME."""

    number: int
    pid: int
    started: float
    notifications: int | None
    """The descriptor of its seccomp filter."""
    notified: CarriedNotifySocket | None
    pump: CarriedRelay | None
    removed: tuple[Entry, ...]
    """Where its listeners were taken out of epoll."""
    unfit: tuple[str, ...]
    """Adapters that were reported."""
    version: str = ""
    """Of its release."""
    settings: str = ""
    """By which it was launched, as JSON; "" where they are those of the service."""


@dataclass(frozen=True)
class CarriedProcess:
    """A process of a generation: its first one, which is a child of ours, or a known one."""

    pid: int
    generation: int
    started: int = 0
    """In clock ticks since boot; 0 for a first one."""


@dataclass(frozen=True)
class CarriedExit:
    """How a process ended that was not the first of its generation."""

    generation: int
    exit: Exit


@dataclass(frozen=True)
class CarriedConnection:
    """A client of the control socket. `call` is what it waits for: "", Status or Upgrade."""

    fd: int
    call: str
    received: str
    unsent: str
    ended: bool


@dataclass(frozen=True)
class CarriedHistory:
    """The failures and the starts that count. CLOCK_REALTIME."""

    failures: tuple[Failure, ...]
    starts: tuple[float, ...]
    account: Account | None = None
    """The ledger, with what is open of it."""


@dataclass(frozen=True)
class CarriedStoreRequest:
    """What systemd is still to be told of its descriptor store, under this name."""

    name: str
    text: str
    fd: int | None


@dataclass(frozen=True)
class CarriedNotification:
    """A state of the service that systemd is still to be told."""

    name: str
    more: str


@dataclass(frozen=True)
class CarriedLog:
    """What is known of a log. Lines and bytes were dropped by this log pump, and by those before
    it; `said`: so many lines of both were reported.
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
    """From a generation (0: it is gone) to the log with this number; `fd` is its read end."""

    key: int
    generation: int
    log: int
    fd: int


@dataclass(frozen=True)
class CarriedLogs:
    """The log pump, and the socket that it is spoken to by."""

    pid: int
    channel: int
    states: tuple[CarriedLog, ...]
    last_key: int
    pipes: tuple[CarriedLogPipe, ...]


@dataclass(frozen=True)
class CarriedProgram:
    """What is supervised."""

    adopt: Adopt
    """The way that is taken."""
    shim_address: str
    calls: int
    """The socket at that address."""
    service: CarriedService
    generations: tuple[CarriedGeneration, ...]
    roots: tuple[CarriedProcess, ...]
    known: tuple[CarriedProcess, ...]
    failures: tuple[CarriedExit, ...]
    history: CarriedHistory
    failed_handover: int
    """Of which the last lines are known."""
    failed_lines: tuple[str, ...]
    logs: CarriedLogs | None = None


@dataclass(frozen=True)
class CarriedSupervisor:
    """Everything."""

    version: str
    """Of the code that wrote this."""
    pid: int
    command_name: str
    """As `ps -o comm` shows it."""
    settings: str
    """As JSON."""
    directory: str
    """Where the lock and the control socket are."""
    made_directory: bool
    lock: int
    files: int | None
    """The soft limit of open files that the programs get back."""
    stores: bool
    """Whether systemd stores descriptors."""
    files_untold: tuple[CarriedStoreRequest, ...]
    states_untold: tuple[CarriedNotification, ...]
    listeners: tuple[CarriedListener, ...]
    control: int
    connections: tuple[CarriedConnection, ...]
    engine: CarriedProgram
    anew: str = ""
    """Why the service has to be started anew, of which only the listeners are left."""
    inotify: int | None = None
    """With the directories that are watched, and what has happened there."""

    def descriptors(self) -> list[int]:
        """All that have to survive."""
        found = [self.lock, *(listener.fd for listener in self.listeners)]
        if self.anew:
            return found
        if self.inotify is not None:
            found.append(self.inotify)
        found += [file.fd for file in self.files_untold if file.fd is not None]
        found += [self.engine.calls, self.control, *(one.fd for one in self.connections)]
        for generation in self.engine.generations:
            if generation.notifications is not None:
                found.append(generation.notifications)
            found += [one.fd for one in (generation.notified, generation.pump) if one]
            if generation.pump and generation.pump.stream is not None:
                found.append(generation.pump.stream)
        if self.engine.logs:
            found += [self.engine.logs.channel, *(one.fd for one in self.engine.logs.pipes)]
        return found


_READER = Reader(
    *(
        CarriedSupervisor,
        CarriedProgram,
        CarriedService,
        CarriedGeneration,
        CarriedRelay,
        CarriedNotifySocket,
    ),
    *(CarriedListener, CarriedProcess, CarriedExit, CarriedConnection),
    *(CarriedHistory, CarriedStoreRequest, CarriedNotification),
    *(Account, Failures, LedgerEntry, Span, Times, Totals),
    *(CarriedLogs, CarriedLog, CarriedLogPipe),
    *(Adopt, Entry, Exit, Failure, Gate, Generation, Handover, Outcome, Phase, State),
)


def write(carried: CarriedSupervisor) -> bytes:
    """As `read` takes it."""
    return json.dumps({"format": FORMAT, "state": plain(carried)}, allow_nan=False).encode()


def read(data: bytes) -> CarriedSupervisor:
    """Raises ValueError, which says what this version cannot read."""
    found = json.loads(data)
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise ValueError(f"its state has format {number}, and this version reads {FORMAT}")
    return _READER.read(CarriedSupervisor, found.get("state"))


def service_of(service: Service) -> CarriedService:
    """Without its policy."""
    return CarriedService(*(getattr(service, name) for name in CarriedService.__match_args__))


def service_from(carried: CarriedService, policy: Policy) -> Service:
    """With that policy."""
    fields = {name: getattr(carried, name) for name in CarriedService.__match_args__}
    return Service(policy, **fields)
