"""Moving the gate of a generation: by its epoll instances from outside, by the shim inside.

A process that holds a listener is either in epoll (edited from here), or it has the shim (told to
close), or it cannot be gated, and then the generation's gate is `none`, with the reason.
"""

from __future__ import annotations

from functools import partial

from sockact.core.model import Gate
from sockact.handover import gate
from sockact.handover.interest import process_interest
from sockact.kernel import procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.handover.gate import Entry
    from sockact.kernel.listener import Listener
    from sockact.supervisor.calls import Calls
    from sockact.supervisor.processes import Processes

    # (generation, gate, reason)
    Moved = Callable[[int, Gate, str], None]


class Gates:
    """The gates of all generations of one service."""

    def __init__(
        self, processes: Processes, calls: Calls, listeners: list[Listener], moved: Moved
    ) -> None:
        self._processes = processes
        self._calls = calls
        self._descriptors = {x.inode: x.socket.fileno() for x in listeners}
        self._moved = moved
        self._removed: dict[int, list[Entry]] = {}

    def close(self, generation: int) -> None:
        """Begin to close; `moved` tells the end."""
        inodes = set(self._descriptors)
        holders = self._holders(generation)
        try:
            in_epoll = self._take_out(generation, holders)
        except (gate.GateRefused, PermissionError) as error:
            self._moved(generation, Gate.NONE, str(error))
            return
        others = [pid for pid in holders if pid not in in_epoll]
        shimmed = [pid for pid in others if self._calls.reaches(pid)]
        bare = [pid for pid in others if pid not in shimmed and process_interest(pid, inodes)]
        if bare:
            self._moved(generation, Gate.NONE, _no_way(bare[0]))
            return
        self._tell(generation, shimmed, "closed", Gate.CLOSED)

    def open(self, generation: int) -> None:
        """Begin to open; `moved` tells the end."""
        removed = self._removed.pop(generation, [])
        try:
            gate.open(removed, self._descriptors)
        except gate.GateRefused as error:
            self._moved(generation, Gate.NONE, str(error))
            return
        # Also processes that were forked while the gate was closed: they hold the listener aside.
        shimmed = [pid for pid in self._holders(generation) if self._calls.reaches(pid)]
        self._tell(generation, shimmed, "open", Gate.OPEN)

    def reopened(self, generation: int) -> bool:
        """Has a process of a closed generation (a new worker, say) gone back to accepting?

        What is found is closed again.
        """
        try:
            return bool(self._take_out(generation, self._processes.of(generation)))
        except (gate.GateRefused, PermissionError):
            return False

    def last_responses(self, generation: int) -> None:
        """Ask every shim that serves to end each connection with its next response."""
        for pid in self._holders(generation):
            if self._calls.reaches(pid):
                self._calls.order(pid, "drain", _nothing)

    def forget(self, generation: int) -> None:
        self._removed.pop(generation, None)

    def _holders(self, generation: int) -> list[int]:
        """The processes that have a listener. Nobody else is called: a signal may meet an exec."""
        inodes = set(self._descriptors)
        return [
            pid
            for pid in self._processes.of(generation)
            if inodes & set(procfs.sockets(pid).values())
        ]

    def _take_out(self, generation: int, pids: list[int]) -> set[int]:
        found = gate.entries(pids, set(self._descriptors))
        if found:
            gate.close(found, self._descriptors)
            self._removed.setdefault(generation, []).extend(found)
        return {entry.pid for entry in found}

    def _tell(self, generation: int, pids: list[int], state: str, target: Gate) -> None:
        """Order the shims; the last answer moves the gate."""
        waiting = set(pids)
        errors: list[str] = []

        def answered(pid: int, error: str) -> None:
            waiting.discard(pid)
            if error and procfs.process(pid):
                errors.append(f"process {pid}: {error}")
            if not waiting:
                if errors:
                    self._moved(generation, Gate.NONE, errors[0])
                else:
                    self._moved(generation, target, "")

        if not pids:
            self._moved(generation, target, "")
        words = f"gate {state} " + " ".join(map(str, self._descriptors))
        for pid in pids:
            self._calls.order(pid, words, partial(answered, pid))


def _no_way(pid: int) -> str:
    return (
        f"process {pid} waits in accept, poll or select and has no shim "
        "(not Python, or started with -I, -E or -S)"
    )


def _nothing(_error: str) -> None:
    """The shim says in its answer which adapters took hold; nobody waits for it."""
