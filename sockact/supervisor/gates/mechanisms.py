"""Finds the mechanism that moves the gate of a process: its epoll instances, or its shim.

Needed when a gate is to close, and for `status` while it is open.
"""

from __future__ import annotations

import time

from sockact.core.matching import Kind
from sockact.handover import gate
from sockact.handover.interest import process_interest
from sockact.kernel import pidfd, procfs, waits
from sockact.kernel.epoll import Limit, TooMany

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sockact.handover.gate import Entry
    from sockact.kernel.procfs import Process
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.processes.shim_calls import ShimCalls

    # (pid, start time) of a process. A pid is not reused within the same clock tick.
    Key = tuple[int, int]

_REST = 10.0
"""Seconds between two looks at a generation that has too many epoll entries."""
EPOLL = "epoll"
SHIM = "shim"
NONE = "none"


class Mechanisms:
    """The mechanisms of all processes of one service."""

    def __init__(self, calls: ShimCalls, listeners: list[Listener]) -> None:
        self._calls = calls
        self._inodes = {x.inode for x in listeners}
        self.streams = {x.inode for x in listeners if x.address.kind is Kind.STREAM}
        self._epoll: dict[int, dict[Key, str]] = {}
        self._tired: dict[int, tuple[float, str]] = {}
        """Generation with too many entries → (when to look again, why not before)."""

    def holders(self, pids: Iterable[int]) -> tuple[dict[int, set[int]], list[int]]:
        """Return the processes that have a listener, with the inodes, and those that may have one.

        The latter cannot be read (because of other privileges, say) but have the shim and can be
        called. No other process is called, because the signal could meet an execve. A process that
        can be neither read nor called is ignored; if there are only such, raises PermissionError.
        Raises OSError.
        """
        found: dict[int, set[int]] = {}
        hidden: list[int] = []
        refused = None
        for pid in pids:
            try:
                if held := self._held(pid):
                    found[pid] = held
            except PermissionError as error:
                refused = error
                if self._calls.reaches(pid) and _can_call(pid):
                    hidden.append(pid)
        if refused is not None and not (found or hidden):
            raise refused
        return found, hidden

    def by_shim(self, pid: int, left: set[int], refused: str, presumed: bool) -> bool:
        """Whether the shim of a process has to gate the listeners in `left`.

        `refused` is why the epoll instances that watch them cannot be edited. `presumed`: the
        process counts as accepting even while it is busy. Raises GateRefused if it accepts and has
        no shim, OSError.
        """
        if not left:
            return False
        if self._calls.reaches(pid):
            return True
        if refused or process_interest(pid, left) or (presumed and not _only_loops(pid)):
            raise gate.GateRefused(_no_way(pid, refused))
        return False

    def of(
        self, generation: int, pids: Iterable[int], removed: Mapping[int, set[int]]
    ) -> tuple[str | None, str]:
        """Return how a generation's gate moves, as in `status`: (gate_by, gate_reason).

        `removed` are the listeners that were taken out of the processes' epoll instances. None:
        no process of it accepts connections.
        """
        until, why = self._tired.get(generation, (0.0, ""))
        if time.monotonic() < until:
            return NONE, why
        try:
            found = self._look(generation, pids, removed)
        except TooMany as error:
            reason = str(error.strerror)
            self._tired[generation] = time.monotonic() + _REST, reason
            return NONE, reason
        except (gate.GateRefused, OSError) as error:
            return NONE, str(error)
        return "+".join(sorted(found)) or None, ""

    def forget(self, generation: int) -> None:
        """Forget a generation that has ended."""
        self._epoll.pop(generation, None)
        self._tired.pop(generation, None)

    def _look(
        self, generation: int, pids: Iterable[int], removed: Mapping[int, set[int]]
    ) -> set[str]:
        # A process that waits in epoll does so as long as it lives. Reading its descriptors for
        # each status would cost as much as counting its connections.
        before = self._epoll.get(generation, {})
        processes = {pid: process for pid in pids if (process := procfs.process(pid))}
        known = {pid: before[key] for pid, p in processes.items() if (key := _key(p)) in before}
        self._epoll[generation] = {_key(processes[pid]): why for pid, why in known.items()}
        held, hidden = self._unknown(processes.keys() - known.keys(), alone=not known)
        parents = {p.parent for pid, p in processes.items() if pid in known or pid in held}
        found = {SHIM} if hidden else set()
        for pid, refused in known.items():
            shimmed = bool(refused) and self.by_shim(pid, self.streams, refused, presumed=True)
            found |= {SHIM} if shimmed else {EPOLL}
        limit = Limit()
        entries = {pid: gate.entries([pid], inodes, limit) for pid, inodes in held.items()}
        loops = known.keys() | {pid for pid in held if entries[pid] or removed.get(pid)}
        for pid, inodes in held.items():
            out = removed.get(pid, set())
            keeps = pid in parents or (pid not in loops and executes_another(pid, loops))
            found |= self._look_at(generation, processes[pid], inodes, out, keeps, entries[pid])
        return found

    def _unknown(self, pids: set[int], alone: bool) -> tuple[dict[int, set[int]], list[int]]:
        try:
            return self.holders(pids)
        except PermissionError:
            if alone:
                raise
            return {}, []

    def _look_at(
        self,
        generation: int,
        process: Process,
        held: set[int],
        removed: set[int],
        keeps: bool,
        entries: list[Entry],
    ) -> set[str]:
        refused = gate.refused(entries[0]) if entries else ""
        outside = set() if refused else removed | {entry.inode for entry in entries}
        left = (held - outside) & self.streams
        if refused or not held - outside:
            self._epoll[generation][_key(process)] = refused
        presumed = not (outside or keeps)
        shimmed = self.by_shim(process.pid, left, refused, presumed)
        return ({EPOLL} if outside else set()) | ({SHIM} if shimmed else set())

    def _held(self, pid: int) -> set[int]:
        return self._inodes & set(procfs.sockets(pid).values())


def _key(process: Process) -> Key:
    return process.pid, process.started


def _can_call(pid: int) -> bool:
    try:
        return pidfd.send_signal(pid, 0)
    except PermissionError:
        return False


def executes_another(pid: int, loops: Collection[int]) -> bool:
    """Whether a process executes another program than those that wait for the listeners in epoll.

    It was started by one of them (a logger, say), and has inherited the listener by mistake.
    """
    try:
        own = procfs.executable(pid)
        return bool(loops) and all(own != procfs.executable(loop) for loop in loops)
    except PermissionError:
        return False


def _only_loops(pid: int) -> bool:
    """Whether all threads wait in epoll, so that none accepts, or will before epoll wakes it.

    A worker that shares an accept mutex with others adds the listener only while it has the mutex.
    """
    threads = waits.threads(pid)
    return bool(threads) and all(thread.waits_on is not None for thread in threads)


def _no_way(pid: int, refused: str) -> str:
    shim = "has no shim (not Python, or started with -I, -E or -S)"
    if refused:
        return (
            f"process {pid} waits in epoll, {shim}, and pidfd_getfd is refused ({refused}); allow "
            "pidfd_getfd (see the container's seccomp profile, CAP_SYS_PTRACE, "
            "kernel.yama.ptrace_scope)"
        )
    return f"process {pid} waits in accept, poll, select or io_uring and {shim}"
