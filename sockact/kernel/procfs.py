"""Processes in /proc: proc(5), or its proc_pid_*(5) pages.

Reading fd, fdinfo, syscall and mem of another process needs the same user or CAP_SYS_PTRACE, and
for descendants a Yama ptrace_scope of at most 1. Functions return an empty value if the process is
gone, raise PermissionError if the kernel refuses, and Unavailable if it cannot tell at this moment
(no descriptors or memory left): the caller may ask again later.
"""

from __future__ import annotations

import errno
import os
import re

from sockact.core.record import dataclass
from sockact.kernel.libc import per_machine

_EPOLL_WAITS = (per_machine(232, -4), per_machine(281, 22), 441)

_SOCKET = "socket:["
_HIGHEST_ADDRESS = (1 << 63) - 1  # what an offset of pread() can express
_EPOLL = "anon_inode:[eventpoll]"
_RING = "anon_inode:[io_uring]"

# "  op=13, task_works=0" after "PollList:", in the fdinfo of an io_uring instance
_RING_WAITS = re.compile(rb"^ +op=([0-9]+), task_works=", re.MULTILINE)

_CHUNK = 1 << 16
_MOST_FDINFO = 1 << 20
_MOST_ENVIRONMENT = 1 << 20

_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)

_SYSCALLS = {
    per_machine(43, 202): "accept",
    per_machine(288, 242): "accept4",
    per_machine(7, -2): "poll",
    per_machine(271, 73): "ppoll",
    per_machine(23, -3): "select",
    per_machine(270, 72): "pselect6",
    per_machine(45, 207): "recvfrom",
    per_machine(47, 212): "recvmsg",
    per_machine(299, 243): "recvmmsg",
}


class Unavailable(OSError):
    """The kernel cannot tell at this moment: no descriptors or memory left."""


@dataclass(frozen=True)
class Process:
    """A process. `started` is in clock ticks since boot; together with the pid it is unique."""

    pid: int
    parent: int
    started: int
    zombie: bool


@dataclass(frozen=True)
class Thread:
    """A thread: its state (proc_pid_stat(5)), and the epoll descriptor that it waits on."""

    state: str
    waits_on: int | None


@dataclass(frozen=True)
class BlockedCall:
    """A system call, in which a thread waits, that may wait for connections."""

    name: str
    arguments: tuple[int, ...]


def process(pid: int) -> Process | None:
    """The process with this pid; None if it is gone."""
    try:
        stat = read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses, and may contain any character.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[19]), fields[0] in (b"Z", b"X"))


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


def thread_group(tid: int) -> int:
    """The pid of a thread's process; `tid` itself if the thread is gone."""
    try:
        for line in read(f"/proc/{tid}/status").splitlines():
            if line.startswith(b"Tgid:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return tid


def children(pid: int) -> list[int]:
    """The pids of a process's children; empty if the process is gone.

    Raises FileNotFoundError without CONFIG_PROC_CHILDREN (Linux 3.5).
    """
    found: list[int] = []
    for tid in _listdir(f"/proc/{pid}/task"):
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
    found = []
    for name in _listdir("/proc"):
        try:
            entry = process(int(name)) if name.isdecimal() else None
        except PermissionError:
            continue
        if entry is not None:
            found.append(entry)
    return found


def sockets(pid: int) -> dict[int, int]:
    """The sockets of a process: descriptor → inode."""
    return sockets_and_epolls(pid)[0]


def sockets_and_epolls(pid: int) -> tuple[dict[int, int], list[int]]:
    """The sockets of a process (descriptor → inode), and the descriptors of its epoll instances.

    Both in one pass, which takes 5 µs for each descriptor.
    """
    sockets, epolls = {}, []
    for fd, target in _descriptors(pid):
        if target.startswith(_SOCKET):
            sockets[fd] = int(target[len(_SOCKET) : -1])
        elif target == _EPOLL:
            epolls.append(fd)
    return sockets, epolls


def io_uring_waits(pid: int) -> list[int]:
    """The opcodes (io_uring_enter(2)) of the operations that wait in a process's io_uring instances
    until a file is ready. The kernel does not tell for which. Those in the first MiB of each.
    """
    found: list[int] = []
    for fd, target in _descriptors(pid):
        if target == _RING:
            try:
                text = read(f"/proc/{pid}/fdinfo/{fd}", _MOST_FDINFO)
            except (FileNotFoundError, ProcessLookupError):
                continue
            found += map(int, _RING_WAITS.findall(text))
    return found


def socket_inode(pid: int, fd: int) -> int | None:
    """The inode of the socket at a descriptor; None if it is not a socket."""
    try:
        target = _readlink(f"/proc/{pid}/fd/{fd}")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(target[len(_SOCKET) : -1]) if target.startswith(_SOCKET) else None


def socket_protocol(pid: int, fd: int) -> str:
    """The kernel's name of a socket's protocol: TCP, TCPv6, UDP, UNIX-STREAM, MPTCP …; or "".

    An extended attribute of sockfs (Linux 3.0; before 5.15, UNIX for all types of Unix sockets).
    """
    try:
        name = os.getxattr(f"/proc/{pid}/fd/{fd}", "system.sockprotoname")
    except OSError:
        return ""
    return name.rstrip(b"\0").decode("ascii", "replace")


def descriptor_flags(pid: int, fd: int) -> int:
    """The open flags of a descriptor, with O_CLOEXEC and O_NONBLOCK (fdinfo, Linux 3.1)."""
    try:
        for line in read(f"/proc/{pid}/fdinfo/{fd}").splitlines():
            if line.startswith(b"flags:"):
                return int(line.split()[1], 8)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def blocked_calls(pid: int) -> list[BlockedCall]:
    """The calls that a process's threads are blocked in (needs CONFIG_HAVE_ARCH_TRACEHOOK)."""
    found = []
    for tid in _listdir(f"/proc/{pid}/task"):
        try:
            words = read(f"/proc/{pid}/task/{tid}/syscall").split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # "running", "-1 SP PC" outside of a system call, or the number and six arguments.
        if len(words) > 6 and (name := _SYSCALLS.get(int(words[0]))):
            found.append(BlockedCall(name, tuple(int(word, 16) for word in words[1:7])))
    return found


def threads(pid: int) -> list[Thread]:
    """The threads of a process."""
    found = []
    for tid in _listdir(f"/proc/{pid}/task"):
        try:
            stat = read(f"/proc/{pid}/task/{tid}/stat")
            words = read(f"/proc/{pid}/task/{tid}/syscall").split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        waits = len(words) > 6 and int(words[0]) in _EPOLL_WAITS
        state = stat[stat.rindex(b")") + 2 :][:1].decode()
        found.append(Thread(state, int(words[1], 16) if waits else None))
    return found


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
    return number in _signals(pid, b"SigCgt:")


def expects(pid: int, number: int) -> bool:
    """Whether a process has a handler for the signal, or ignores it."""
    return number in _signals(pid, b"SigCgt:") | _signals(pid, b"SigIgn:")


def _signals(pid: int, mask: bytes) -> set[int]:
    try:
        for line in read(f"/proc/{pid}/status").splitlines():
            if line.startswith(mask):
                bits = int(line.split()[1], 16)
                return {number + 1 for number in range(bits.bit_length()) if bits >> number & 1}
    except (FileNotFoundError, ProcessLookupError):
        pass
    return set()


def initial_environment(pid: int) -> dict[bytes, bytes]:
    """The environment that a process's program was executed with; its first MiB.

    The process may move it (PR_SET_MM_MAP of prctl(2)), to terabytes of memory for example.
    """
    try:
        entries = read(f"/proc/{pid}/environ", _MOST_ENVIRONMENT).split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(entry.partition(b"=")[::2] for entry in entries if entry)


def _descriptors(pid: int) -> list[tuple[int, str]]:
    found = []
    for name in _listdir(f"/proc/{pid}/fd"):
        try:
            found.append((int(name), _readlink(f"/proc/{pid}/fd/{name}")))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def as_unavailable(error: OSError) -> OSError:
    """The error, as Unavailable if it is temporary."""
    if error.errno in _FOR_NOW:
        return Unavailable(error.errno, error.strerror, error.filename)
    return error


def _listdir(path: str) -> list[str]:
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
