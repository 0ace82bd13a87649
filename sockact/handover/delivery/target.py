"""The threads of a process that will call accept on a listener, and what they wait in now."""

from __future__ import annotations

from sockact.core.numbers import whole
from sockact.core.record import dataclass
from sockact.handover.interest import waits_on
from sockact.kernel import epoll, looks, pidfd, procfs, waits
from sockact.kernel.libc import per_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.epoll import EpollEntry
    from sockact.kernel.waits import BlockedCall

_ACCEPTS = ("accept", "accept4")
_POLLS = ("poll", "ppoll", "select", "pselect6")
_INPUT = 1
_FUTEXES = (per_machine(202, 98), 449, 454, 455)
"""futex, and futex_waitv, futex_wake and futex_wait of Linux 5.16 and 6.7."""


@looks.error
class Refused(OSError):
    """Nothing can be delivered to the process now, for the reason in the message."""

    def __str__(self) -> str:
        return str(self.strerror)


class Impossible(Refused):
    """The same, and later, too."""


@dataclass(frozen=True)
class Target:
    """Where connections are to be delivered."""

    pid: int
    listeners: frozenset[int]
    """The descriptors of the process that are the listener."""
    threads: tuple[int, ...]
    """Those of which one will call accept, or all of which do."""
    others: tuple[int, ...] = ()
    """Those of which one might call it instead: a loop may give its work to others."""
    entries: tuple[tuple[int, EpollEntry], ...] = ()
    """(descriptor of an epoll instance, entry of the listener in it), if it waits in epoll."""


def find(pid: int, inode: int, most: int) -> Target:
    """The threads of a process to which up to `most` connections of a listener can be delivered.

    Raises Refused, OSError.
    """
    _check(pid, pid)
    target = _find(pid, inode, most)
    for tid in (*target.threads, *target.others):
        _check(pid, tid)
    return target


def _find(pid: int, inode: int, most: int) -> Target:
    sockets, epolls = procfs.sockets_and_epolls(pid)
    held = frozenset(fd for fd, its in sockets.items() if its == inode)
    if not held:
        raise Refused(0, f"process {pid} does not have the listener")
    calls = waits.system_calls(pid)
    blocked = {tid: call for tid, words in calls.items() if (call := waits.blocked_call(words))}
    if found := _that_wait(pid, blocked, held, _ACCEPTS, most):
        return Target(pid, held, found)
    entries = tuple(
        (epfd, entry)
        for epfd in epolls
        for entry in epoll.of_instance(pid, epfd, {inode})
        if entry.events & _INPUT
    )
    if entries:
        first, others = _of_loops(pid, calls, {epfd for epfd, _ in entries})
        if first:
            return Target(pid, held, first, others, entries)
    if found := _that_wait(pid, blocked, held, _POLLS, most):
        return Target(pid, held, found)
    raise Refused(0, f"process {pid} does not wait for connections now")


def _that_wait(
    pid: int,
    blocked: dict[int, BlockedCall],
    held: frozenset[int],
    names: tuple[str, ...],
    most: int,
) -> tuple[int, ...]:
    """Up to `most` threads that wait for a listener in one of these calls."""
    found = (
        tid
        for tid, call in blocked.items()
        if call.name in names and not held.isdisjoint(waits_on(pid, call))
    )
    return tuple(tid for tid, _ in zip(found, range(most), strict=False))


def _of_loops(
    pid: int, calls: dict[int, tuple[str, ...]], loops: set[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The threads that wait on these epoll instances, and those that may get their work: those that
    run, or wait for work. If none waits, the others are the first. None if no loop is there to be
    woken. No other thread is interrupted, because its call might fail.
    """
    waiting = {
        tid
        for tid, words in calls.items()
        if waits.in_epoll_wait(words) and _is_one_of(pid, int(words[1], 16), loops)
    }
    running = {tid for tid, words in calls.items() if words[:1] == ("running",)}
    idle = {tid for tid, words in calls.items() if words and whole(words[0]) in _FUTEXES}
    if waiting:
        return tuple(waiting), (*running, *idle)
    return ((*running, *idle) if running else ()), ()


def _is_one_of(pid: int, epfd: int, loops: set[int]) -> bool:
    # tokio waits on a duplicate.
    return epfd in loops or any(pidfd.same_file(pid, epfd, loop) for loop in loops)


def _check(pid: int, tid: int) -> None:
    """Raises Refused if a thread of the process must not be traced now."""
    fields = _fields(f"/proc/{pid}/task/{tid}/status")
    if not fields:
        return  # It has ended.
    if tracer := whole(fields.get(b"TracerPid", b"0")):
        raise Impossible(0, f"process {pid} is traced by process {tracer} (strace or a debugger)")
    if fields.get(b"State", b"")[:1] in (b"T", b"t"):
        raise Refused(0, f"process {pid} is stopped")
    ours = whole(_fields("/proc/self/status").get(b"Seccomp_filters", b"-"))
    its = whole(fields.get(b"Seccomp_filters", b"-"))
    if ours is None or its is None:
        raise Impossible(0, "the kernel does not tell the number of seccomp filters (Linux 5.9)")
    # Its own filter may kill it for a call that it has never made before.
    if its > ours + 1:
        raise Impossible(0, f"process {pid} has a seccomp filter of its own")
    if its <= ours:
        raise Impossible(0, f"process {pid} was started without a seccomp filter (--adopt shim)")


def _fields(path: str) -> dict[bytes, bytes]:
    """The fields of proc_pid_status(5); none if the process is gone."""
    try:
        lines = procfs.read(path).splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}
