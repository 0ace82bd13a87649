"""What the threads of a process wait for: proc_pid_syscall(5) (Linux 2.6.27), proc_pid_stat(5), and
the fdinfo of its io_uring instances (Linux 5.15).

Needs the rights of procfs, and raises what it raises.
"""

from __future__ import annotations

from sockact.core.numbers import whole
from sockact.core.record import dataclass
from sockact.kernel import procfs
from sockact.kernel.libc import per_machine
from sockact.kernel.looks import apart

_EPOLL_WAITS = (per_machine(232, -4), per_machine(281, 22), 441)
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
_RING = "anon_inode:[io_uring]"
_MOST_FDINFO = 1 << 20


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


def system_calls(pid: int) -> dict[int, tuple[str, ...]]:
    """Each thread of a process → the words of its proc_pid_syscall(5): the number and arguments of
    the call that it is blocked in, or `running`, or -1 if it was stopped outside of a call.
    """
    found = {}
    for tid in procfs.listdir(f"/proc/{pid}/task"):
        try:
            words = procfs.read(f"/proc/{pid}/task/{tid}/syscall").decode().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[int(tid)] = tuple(words)
    return found


def blocked_calls(pid: int) -> list[BlockedCall]:
    """The calls that a process's threads are blocked in (needs CONFIG_HAVE_ARCH_TRACEHOOK)."""
    return [call for words in system_calls(pid).values() if (call := blocked_call(words))]


def blocked_call(words: tuple[str, ...]) -> BlockedCall | None:
    """The call that these words of `system_calls` name, if it may wait for connections."""
    # "running", "-1 SP PC" outside of a system call, or the number and six arguments.
    if len(words) > 6 and int(words[0]) in _SYSCALLS:
        return waiting_call(int(words[0]), tuple(int(word, 16) for word in words[1:7]))
    return None


def waiting_call(number: int, arguments: tuple[int, ...]) -> BlockedCall | None:
    """The system call with this number, if it may wait for connections."""
    name = _SYSCALLS.get(number)
    return BlockedCall(name, arguments) if name else None


def in_epoll_wait(words: tuple[str, ...]) -> bool:
    """Whether these words of `system_calls` say that the thread waits in epoll."""
    return len(words) > 6 and is_epoll_wait(int(words[0]))


def is_epoll_wait(number: int) -> bool:
    """Whether this is the number of epoll_wait, epoll_pwait or epoll_pwait2."""
    return number in _EPOLL_WAITS


def threads(pid: int) -> list[Thread]:
    """The threads of a process."""
    return [Thread(*found) for found in _threads(pid)]


@apart
def _threads(pid: int) -> list[tuple[str, int | None]]:
    found = []
    for tid in procfs.listdir(f"/proc/{pid}/task"):
        try:
            stat = procfs.read(f"/proc/{pid}/task/{tid}/stat")
            words = procfs.read(f"/proc/{pid}/task/{tid}/syscall").decode().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        waits = in_epoll_wait(tuple(words))
        state = stat[stat.rindex(b")") + 2 :][:1].decode()
        found.append((state, int(words[1], 16) if waits else None))
    return found


@apart
def io_uring(pid: int) -> list[int]:
    """The opcodes (io_uring_enter(2)) of the operations that wait in a process's io_uring instances
    until a file is ready. The kernel does not tell for which. Those in the first MiB of each.
    """
    found: list[int] = []
    for fd, target in procfs.descriptors(pid):
        if target == _RING:
            try:
                text = procfs.read(f"/proc/{pid}/fdinfo/{fd}", _MOST_FDINFO)
            except (FileNotFoundError, ProcessLookupError):
                continue
            opcodes = map(_waiting_opcode, text.split(b"\n"))
            found += [opcode for opcode in opcodes if opcode is not None]
    return found


def _waiting_opcode(line: bytes) -> int | None:
    """That of "  op=13, task_works=0" after "PollList:", in the fdinfo of an io_uring instance."""
    operation, waits, _ = line.partition(b", task_works=")
    name, _, opcode = operation.lstrip(b" ").partition(b"=")
    return whole(opcode) if waits and name == b"op" and line.startswith(b" ") else None
