"""Processes in /proc: proc(5), or its proc_pid_*(5) pages.

Reading fd, fdinfo, syscall and mem of another process needs the same user or CAP_SYS_PTRACE, and
for descendants a Yama ptrace_scope of at most 1. Functions return an empty value if the process is
gone, raise PermissionError if the kernel refuses, and Unavailable if it cannot tell at this moment
(no descriptors or memory left, or the process keeps the kernel from answering): the caller may ask
again later. All of them run apart (looks.py).
"""

from __future__ import annotations

import errno
import os

from sockact.core.record import dataclass
from sockact.kernel import looks
from sockact.kernel.looks import apart, apart_for, as_unavailable

_SOCKET = "socket:["
_HIGHEST_ADDRESS = (1 << 63) - 1  # what an offset of pread() can express
_EPOLL = "anon_inode:[eventpoll]"

_CHUNK = 1 << 16
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST_ENVIRONMENT = 1 << 20


Unavailable = looks.Unavailable


@dataclass(frozen=True)
class Process:
    """A process. `started` is in clock ticks since boot; together with the pid it is unique."""

    pid: int
    parent: int
    started: int
    zombie: bool


def process(pid: int) -> Process | None:
    """The process with this pid; None if it is gone."""
    found = _process(pid)
    return Process(*found) if found else None


@apart
def _process(pid: int) -> tuple[int, int, int, bool] | None:
    try:
        stat = read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses, and may contain any character.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return pid, int(fields[1]), int(fields[19]), fields[0] in (b"Z", b"X")


@apart
def usage(pids: list[int]) -> dict[int, tuple[float, int]]:
    """The CPU time in seconds, of all threads, and the bytes of memory that are no file's, of each
    of these processes that is there and may be looked at: proc_pid_stat(5), proc_pid_statm(5).
    """
    found = {}
    for pid in pids:
        try:
            stat, statm = read(f"/proc/{pid}/stat"), read(f"/proc/{pid}/statm")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        fields, pages = stat[stat.rindex(b")") + 2 :].split(), [*map(int, statm.split())]
        ticks = int(fields[11]) + int(fields[12])
        found[pid] = ticks / _TICKS, (pages[1] - pages[2]) * _PAGE
    return found


@apart
def has_memory(pid: int) -> bool:
    """Whether the process has memory, which it loses in exit(2), before it is a zombie:
    proc_pid_statm(5).
    """
    try:
        return not read(f"/proc/{pid}/statm").startswith(b"0 ")
    except (FileNotFoundError, ProcessLookupError):
        return False


def executable(pid: int) -> str:
    """The path of the program that a process executes; "" if it is gone. Raises PermissionError."""
    try:
        return _readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def lives(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    found = process(pid)
    return found is not None and not found.zombie


@apart
def sleeps(pid: int) -> bool:
    """Whether the main thread of a process sleeps, and a signal can wake it."""
    try:
        stat = read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rindex(b")") + 2 :].startswith(b"S")


@apart
def thread_group(tid: int) -> int:
    """The pid of a thread's process; `tid` itself if the thread is gone."""
    try:
        for line in read(f"/proc/{tid}/status").splitlines():
            if line.startswith(b"Tgid:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return tid


@apart
def children(pid: int) -> list[int]:
    """The pids of a process's children; empty if the process is gone.

    Raises FileNotFoundError without CONFIG_PROC_CHILDREN (Linux 3.5).
    """
    found: list[int] = []
    for tid in listdir(f"/proc/{pid}/task"):
        try:
            found += map(int, read(f"/proc/{pid}/task/{tid}/children").split())
        except ProcessLookupError:
            continue
        except FileNotFoundError:
            if os.path.exists(f"/proc/{pid}/task/{tid}"):
                raise
    return found


def processes() -> list[Process]:
    """All processes that this process may see (hidepid= in proc(5))."""
    return [Process(*found) for found in _processes()]


@apart_for("processes of the machine")
def _processes() -> list[tuple[int, int, int, bool]]:
    found = []
    for name in listdir("/proc"):
        try:
            entry = _process(int(name)) if name.isdecimal() else None
        except PermissionError:
            continue
        if entry is not None:
            found.append(entry)
    return found


def sockets(pid: int) -> dict[int, int]:
    """The sockets of a process: descriptor → inode."""
    return sockets_and_epolls(pid)[0]


@apart
def sockets_and_epolls(pid: int) -> tuple[dict[int, int], list[int]]:
    """The sockets of a process (descriptor → inode), and the descriptors of its epoll instances.

    Both in one pass, which takes 5 µs for each descriptor.
    """
    sockets, epolls = {}, []
    for fd, target in descriptors(pid):
        if target.startswith(_SOCKET):
            sockets[fd] = int(target[len(_SOCKET) : -1])
        elif target == _EPOLL:
            epolls.append(fd)
    return sockets, epolls


@apart
def socket_inode(pid: int, fd: int) -> int | None:
    """The inode of the socket at a descriptor; None if it is not a socket."""
    try:
        target = _readlink(f"/proc/{pid}/fd/{fd}")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(target[len(_SOCKET) : -1]) if target.startswith(_SOCKET) else None


@apart
def socket_protocol(pid: int, fd: int) -> str:
    """The kernel's name of a socket's protocol: TCP, TCPv6, UDP, UNIX-STREAM, MPTCP …; or "".

    An extended attribute of sockfs (Linux 3.0; before 5.15, UNIX for all types of Unix sockets).
    """
    try:
        name = os.getxattr(f"/proc/{pid}/fd/{fd}", "system.sockprotoname")
    except OSError as error:
        if isinstance(found := as_unavailable(error), Unavailable):
            raise found from None
        return ""
    return name.rstrip(b"\0").decode("ascii", "replace")


@apart
def descriptor_flags(pid: int, fd: int) -> int:
    """The open flags of a descriptor, with O_CLOEXEC and O_NONBLOCK (fdinfo, Linux 3.1)."""
    try:
        for line in read(f"/proc/{pid}/fdinfo/{fd}").splitlines():
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


@apart
def memory(pid: int, address: int, length: int) -> bytes:
    """Read another process's memory: up to `length` bytes. Raises OSError."""
    if address > _HIGHEST_ADDRESS:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
    try:
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise as_unavailable(error) from None
    try:
        return os.pread(fd, length, address)
    finally:
        os.close(fd)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for the signal."""
    return number in _signals(pid, (b"SigCgt:",))


def expects(pid: int, number: int) -> bool:
    """Whether a process has a handler for the signal, or ignores it."""
    return number in _signals(pid, (b"SigCgt:", b"SigIgn:"))


@apart
def _signals(pid: int, masks: tuple[bytes, ...]) -> set[int]:
    bits = 0
    try:
        for line in read(f"/proc/{pid}/status").splitlines():
            if line.startswith(masks):
                bits |= int(line.split()[1], 16)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return {number + 1 for number in range(bits.bit_length()) if bits >> number & 1}


@apart
def initial_environment(pid: int) -> dict[bytes, bytes]:
    """The environment that a process's program was executed with; its first MiB.

    The process may move it (PR_SET_MM_MAP of prctl(2)), to terabytes of memory for example.
    """
    try:
        entries = read(f"/proc/{pid}/environ", _MOST_ENVIRONMENT).split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(entry.partition(b"=")[::2] for entry in entries if entry)


def descriptors(pid: int) -> list[tuple[int, str]]:
    """The descriptors of a process, and what /proc says that each is: proc_pid_fd(5)."""
    found = []
    for name in listdir(f"/proc/{pid}/fd"):
        try:
            found.append((int(name), _readlink(f"/proc/{pid}/fd/{name}")))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def listdir(path: str) -> list[str]:
    """The names in a directory of /proc; none if it is gone. Raises OSError, Unavailable."""
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []
    except OSError as error:
        raise as_unavailable(error) from None


def _readlink(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError as error:
        raise as_unavailable(error) from None


def read(path: str, most: int | None = None) -> bytes:
    """The content of a file in /proc, or its first `most` bytes. Raises OSError, Unavailable."""
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        chunks = []
        left = most
        while left is None or left > 0:
            chunk = os.read(fd, _CHUNK if left is None else min(_CHUNK, left))
            if not chunk:
                break
            chunks.append(chunk)
            left = None if left is None else left - len(chunk)
        return b"".join(chunks)
    except OSError as error:
        raise as_unavailable(error) from None
    finally:
        if fd >= 0:
            os.close(fd)
