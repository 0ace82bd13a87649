"""What systemd keeps for the service while no supervisor runs: the file descriptor store.

systemd.service(5), FileDescriptorStoreMax=; sd_pid_notify_with_fds(3). What was stored comes back
by LISTEN_FDS, together with the listeners of .socket units, and stays in the store as well. Only
the names tell them apart. docs/fdstore.md says what is kept, and why.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat

from sockact.core.matching import Address, Family, Kind
from sockact.core.record import dataclass, field

_LISTENER = "sockact-listener-"
_PROCESS = "sockact-pidfd-"
TRIAL = "sockact-trial"
"""FDNAME= of the end of a pipe, which is stored only to see whether that can be done."""
_DIGITS = 19
# Of the kernel's table: Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON.
_COLUMNS = 8
_LISTENS = 0x10000


@dataclass(frozen=True)
class Process:
    """The first process of a generation of an earlier supervisor."""

    name: str
    """In the store."""
    pid: int
    pidfd: int


@dataclass(frozen=True)
class Kept:
    """What came back from the store."""

    listeners: list[tuple[str, socket.socket]] = field(default_factory=list)
    """(name in the store, socket)."""
    processes: list[Process] = field(default_factory=list)

    def take(self, fd: int, name: str) -> bool:
        """Add a passed descriptor if it is one that sockact has stored."""
        listener, process = _number(name, _LISTENER), _number(name, _PROCESS)
        # By the inode: FileDescriptorName= of a .socket unit may look like a name of ours.
        if listener is not None and _inode(fd) == listener:
            found = socket.socket(fileno=fd)
            found.set_inheritable(False)
            self.listeners.append((name, found))
            return True
        if process is not None and _is_pidfd(fd):
            os.set_inheritable(fd, False)
            self.processes.append(Process(name, process, fd))
            return True
        if name == TRIAL and stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)  # Of a supervisor that was killed in the middle of it.
            return True
        return False


def listener_name(inode: int) -> str:
    """FDNAME= of a listener of our own; no other one has it at the same time."""
    return f"{_LISTENER}{inode}"


def process_name(pid: int) -> str:
    """FDNAME= of the pidfd of a generation's first process."""
    return f"{_PROCESS}{pid}"


def usable(found: socket.socket, address: Address) -> bool:
    """Whether clients can still reach a listener that was kept."""
    if address.kind is Kind.STREAM:
        hung_up = select.poll()
        hung_up.register(found, select.POLLRDHUP)
        if hung_up.poll(0):
            return False  # Shut down, for TCP and for Unix sockets: a stop was not finished.
    if address.family is not Family.UNIX or address.host[0] != "/":
        return True
    try:
        there = stat.S_ISSOCK(os.lstat(address.host).st_mode)
    except OSError:
        return False  # RuntimeDirectory= is removed at a restart, with what is in it.
    return there and not _has_another(address.host, os.fstat(found.fileno()).st_ino)


def discard(found: socket.socket, address: Address) -> None:
    """Close a listener that was kept, with its file, which would refuse everybody."""
    if address.family is Family.UNIX and address.host[0] == "/" and usable(found, address):
        with contextlib.suppress(OSError):
            os.unlink(address.host)
    found.close()


def _has_another(path: str, inode: int) -> bool:
    """Does somebody else listen there, who has bound it since? /proc/net/unix says so."""
    try:
        with open("/proc/net/unix", "rb") as file:
            rows = [line.rstrip(b"\n").split(None, 7) for line in file]
    except OSError:
        return False
    wanted = os.fsencode(path)
    found = [row for row in rows if len(row) == _COLUMNS and row[7] == wanted]
    return any(int(row[3], 16) & _LISTENS and int(row[6]) != inode for row in found)


def _number(name: str, prefix: str) -> int | None:
    digits = name.removeprefix(prefix)
    valid = digits != name and digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS
    return int(digits) if valid else None


def _inode(fd: int) -> int | None:
    found = os.fstat(fd)
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else None


def _is_pidfd(fd: int) -> bool:
    # pidfd_open(2): that line is what makes it one.
    with open(f"/proc/self/fdinfo/{fd}") as file:
        return any(line.startswith("Pid:") for line in file)
