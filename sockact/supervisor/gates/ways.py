"""In which way the gate of a process moves: by its epoll instances from outside, or by its shim.

Asked when a gate is to close, and by `status` while it is open.
"""

from __future__ import annotations

from sockact.core.matching import Kind
from sockact.handover import gate
from sockact.handover.interest import process_interest
from sockact.kernel import pidfd, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sockact.kernel.procfs import Process
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.processes.shim_calls import ShimCalls

    # A process: its pid is reused, but not in the same clock tick.
    Key = tuple[int, int]

EPOLL = "epoll"
SHIM = "shim"
NONE = "none"


class Ways:
    """The ways of all processes of one service."""

    def __init__(self, calls: ShimCalls, listeners: list[Listener]) -> None:
        self._calls = calls
        self._inodes = {x.inode for x in listeners}
        self.streams = {x.inode for x in listeners if x.address.kind is Kind.STREAM}
        self._epoll: dict[int, dict[Key, str]] = {}

    def holders(self, pids: Iterable[int]) -> tuple[dict[int, set[int]], list[int]]:
        """The processes that have a listener, with the inodes, and those that may have one.

        The latter cannot be read (they have other privileges, say) but have the shim and can be
        called. Nobody else is called: a signal may meet an exec. One that can neither be read nor
        called is no server of ours, unless all are: then raises PermissionError. Raises OSError.
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
        """Is the shim of a process to gate the listeners that are left?

        `refused` is why its epoll instances, which watch them, are out of reach, `presumed` whether
        it counts as one that accepts also while it is busy. Raises GateRefused when it accepts and
        has no shim, OSError.
        """
        if not left:
            return False
        if self._calls.reaches(pid):
            return True
        if refused or presumed or process_interest(pid, left):
            raise gate.GateRefused(_no_way(pid, refused))
        return False

    def of(
        self, generation: int, pids: Iterable[int], removed: Mapping[int, set[int]]
    ) -> tuple[str | None, str]:
        """How a generation's gate moves, as `status` says it: (gate_by, gate_reason).

        `removed` are the listeners that were taken out of the processes' epoll instances. None:
        nothing of it accepts connections.
        """
        try:
            found = self._look(generation, pids, removed)
        except (gate.GateRefused, OSError) as error:
            return NONE, str(error)
        return "+".join(sorted(found)) or None, ""

    def forget(self, generation: int) -> None:
        self._epoll.pop(generation, None)

    def _look(
        self, generation: int, pids: Iterable[int], removed: Mapping[int, set[int]]
    ) -> set[str]:
        # A process that waits in epoll does so as long as it lives. To go through its descriptors
        # at each status would cost as much as to count its connections, and pidfd_getfd would only
        # be refused again.
        before = self._epoll.get(generation, {})
        processes = {pid: process for pid in pids if (process := procfs.process(pid))}
        known = {pid: before[key] for pid, p in processes.items() if (key := _key(p)) in before}
        self._epoll[generation] = {_key(processes[pid]): why for pid, why in known.items()}
        held, hidden = self._unknown(processes.keys() - known.keys(), alone=not known)
        parents = {p.parent for pid, p in processes.items() if pid in known or pid in held}
        ways = {SHIM} if hidden else set()
        for pid, refused in known.items():
            shimmed = bool(refused) and self.by_shim(pid, self.streams, refused, presumed=True)
            ways |= {SHIM} if shimmed else {EPOLL}
        for pid, inodes in held.items():
            out = removed.get(pid, set())
            ways |= self._look_at(generation, processes[pid], inodes, out, pid in parents)
        return ways

    def _unknown(self, pids: set[int], alone: bool) -> tuple[dict[int, set[int]], list[int]]:
        try:
            return self.holders(pids)
        except PermissionError:
            if alone:
                raise
            return {}, []

    def _look_at(
        self, generation: int, process: Process, held: set[int], removed: set[int], parent: bool
    ) -> set[str]:
        entries = gate.entries([process.pid], held)
        refused = gate.refused(entries[0]) if entries else ""
        outside = set() if refused else removed | {entry.inode for entry in entries}
        left = (held - outside) & self.streams
        if refused or not held - outside:
            self._epoll[generation][_key(process)] = refused
        presumed = not (outside or parent)
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


def _no_way(pid: int, refused: str) -> str:
    shim = "has no shim (not Python, or started with -I, -E or -S)"
    if refused:
        return (
            f"process {pid} waits in epoll, pidfd_getfd is refused ({refused}), it {shim}: allow "
            "pidfd_getfd: the container's seccomp profile, CAP_SYS_PTRACE, kernel.yama.ptrace_scope"
        )
    return f"process {pid} waits in accept, poll or select and {shim}"
