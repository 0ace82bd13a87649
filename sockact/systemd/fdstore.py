"""The file descriptor store: what systemd keeps for the service while no supervisor runs.

See FileDescriptorStoreMax= in systemd.service(5), and sd_pid_notify_with_fds(3). Stored descriptors
come back by LISTEN_FDS, together with the listeners of .socket units, and stay in the store. Only
their names tell them apart. docs/fdstore.md says what is kept, and why.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat

from sockact.core.matching import Address, Kind
from sockact.core.numbers import whole
from sockact.core.record import dataclass, field

_LISTENER = "sockact-listener-"
_LANE = "sockact-lane-"
_PROCESS = "sockact-pidfd-"
TRIAL = "sockact-trial"
"""FDNAME= of the end of a pipe that is stored only to find out whether systemd stores anything."""
_LARGEST = 10**19 - 1
# /proc/net/unix: Num RefCount Protocol Flags Type St Inode Path. Flag __SO_ACCEPTCON.
_COLUMNS = 8
_LISTENING = b"00010000"


@dataclass(frozen=True)
class Process:
    """The first process of a generation that an earlier supervisor launched."""

    name: str
    """Its name in the store."""
    pid: int
    pidfd: int


@dataclass(frozen=True)
class Kept:
    """The descriptors that came back from the store."""

    listeners: list[tuple[str, socket.socket]] = field(default_factory=list)
    """(name in the store, socket)."""
    processes: list[Process] = field(default_factory=list)
    lanes: list[tuple[str, int, socket.socket]] = field(default_factory=list)
    """(name in the store, lane, socket) of the lanes from 1 on."""

    def take(self, fd: int, name: str) -> bool:
        """Add a passed descriptor if sockact has stored it, and say whether it has."""
        listener, process = _number(name, _LISTENER), _number(name, _PROCESS)
        # By the inode, too: FileDescriptorName= of a .socket unit may look like one of these names.
        if listener is not None and _inode(fd) == listener:
            found = socket.socket(fileno=fd)
            found.set_inheritable(False)
            self.listeners.append((name, found))
            return True
        if (lane := _lane(name, fd)) is not None:
            found = socket.socket(fileno=fd)
            found.set_inheritable(False)
            self.lanes.append((name, lane, found))
            return True
        if process is not None and _is_pidfd(fd):
            os.set_inheritable(fd, False)
            self.processes.append(Process(name, process, fd))
            return True
        if name == TRIAL and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)  # Left by a supervisor that was killed in `learn_store`.
            return True
        return False


def listener_name(inode: int) -> str:
    """FDNAME= of a listener that sockact has opened, unique among open sockets."""
    return f"{_LISTENER}{inode}"


def lane_name(lane: int, inode: int) -> str:
    """FDNAME= of the listener of a lane from 1 on."""
    return f"{_LANE}{lane}-{inode}"


def process_name(pid: int) -> str:
    """FDNAME= of the pidfd of a generation's first process."""
    return f"{_PROCESS}{pid}"


def usable(found: socket.socket, address: Address) -> bool:
    """Whether clients can still reach a listener from the store."""
    if address.kind is Kind.STREAM:
        hung_up = select.poll()
        hung_up.register(found, select.POLLRDHUP)
        if hung_up.poll(0):
            return False  # Shut down: a stop was interrupted.
    if not address.is_file:
        return True
    try:
        there = stat.S_ISSOCK(os.lstat(address.host).st_mode)
    except OSError:
        return False  # A restart removes RuntimeDirectory= and its contents.
    return there and not _has_another(address.host, os.fstat(found.fileno()).st_ino)


def discard(found: socket.socket, address: Address) -> None:
    """Close a listener from the store and remove its socket file, which would refuse clients."""
    if address.is_file and usable(found, address):
        with contextlib.suppress(OSError):
            os.unlink(address.host)
    found.close()


def _has_another(path: str, inode: int) -> bool:
    """Whether another socket listens at the path, by /proc/net/unix."""
    try:
        with open("/proc/net/unix", "rb") as file:
            rows = [line.rstrip(b"\n").split(None, 7) for line in file]
    except OSError:
        return False
    wanted = os.fsencode(path)
    found = [row for row in rows if len(row) == _COLUMNS and row[7] == wanted]
    # A socket name with a newline can forge a line, but no number in it may end the supervisor.
    return any(row[3] == _LISTENING and row[6] != b"%d" % inode for row in found)


def _number(name: str, prefix: str) -> int | None:
    digits = name.removeprefix(prefix)
    return whole(digits, _LARGEST) if digits != name else None


def _lane(name: str, fd: int) -> int | None:
    """The lane that a listener's name tells, if it is the name of this descriptor."""
    digits = name.removeprefix(_LANE).partition("-")[0]
    lane = whole(digits, _LARGEST) if name.startswith(_LANE) else None
    return lane if lane and name == lane_name(lane, _inode(fd) or 0) else None


def _inode(fd: int) -> int | None:
    found = os.fstat(fd)
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else None


def _is_pidfd(fd: int) -> bool:
    # Only a pidfd has this line: pidfd_open(2).
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return any(line.startswith("Pid:") for line in file)
