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
    # (generation, message)
    Notice = Callable[[int, str], None]


# A program that forks without end does not keep a gate from moving.
_MOST_TOLD = 10_000
# The words come from the program: whatever it makes up, it does not fill the journal.
_MOST_UNFIT = 50


class Gates:
    """The gates of all generations of one service."""

    def __init__(
        self,
        processes: Processes,
        calls: Calls,
        listeners: list[Listener],
        moved: Moved,
        notice: Notice,
    ) -> None:
        self._processes = processes
        self._calls = calls
        self._descriptors = {x.inode: x.socket.fileno() for x in listeners}
        self._moved = moved
        self._notice = notice
        self._unfit: dict[int, set[str]] = {}
        self._removed: dict[int, list[Entry]] = {}

    def close(self, generation: int) -> None:
        """Begin to close; `moved` tells the end. NONE: closed in part, perhaps."""
        try:
            holders = self._holders(generation)
            shimmed = self._close_outside(generation, holders)
        except (gate.GateRefused, OSError) as error:
            self._moved(generation, Gate.NONE, str(error))
        else:
            # Those that were taken out of epoll must not be told, too.
            _Round(self, generation, Gate.CLOSED, holders).order(shimmed)

    def open(self, generation: int) -> None:
        """Begin to open; `moved` tells the end. NONE: it hears of no client any more."""
        try:
            gate.open(self._removed.pop(generation, []), self._descriptors)
            # Also processes that were forked while the gate was closed: they hold the listener.
            shimmed = self.shimmed(generation)
        except (gate.GateRefused, OSError) as error:
            self._moved(generation, Gate.NONE, str(error))
        else:
            _Round(self, generation, Gate.OPEN, []).order(shimmed)

    def reopened(self, generation: int) -> bool:
        """Has a process of a closed generation (a new worker, say) gone back to accepting?

        What is found is closed again.
        """
        try:
            return bool(self._take_out(generation, self._holders(generation)))
        except (gate.GateRefused, OSError):
            return False

    def last_responses(self, generation: int) -> None:
        """Ask every shim that serves to end each connection with its next response, and never to
        shut a listener down.
        """
        try:
            shimmed = self.shimmed(generation)
        except OSError:
            return  # The drain goes on without; it only takes longer.
        words = " ".join(map(str, ["drain", *self._descriptors]))
        for pid in shimmed:
            heard = partial(self._adapted, generation)
            self._calls.order(pid, words, _nothing, heard=heard)

    def _adapted(self, generation: int, answer: list[str]) -> None:
        """`drain ADAPTER …`: name those that did not fit, once each, not for each process."""
        known = self._unfit.setdefault(generation, set())
        for word in filter(str.isprintable, answer[1:]):
            name, unfit, version = word.partition("!")
            if unfit and name not in known and len(known) < _MOST_UNFIT:
                known.add(name)
                found = f" ({name} {version})" if version else ""
                self._notice(
                    generation,
                    f"the adapter for {name} does not fit the installed version{found}; "
                    "its kept connections end when they are idle",
                )

    def forget(self, generation: int) -> None:
        self._removed.pop(generation, None)
        self._unfit.pop(generation, None)

    def _close_outside(self, generation: int, holders: list[int]) -> list[int]:
        """Take the listeners out of epoll; the processes that have to be told by the shim.

        Raises GateRefused when a process can be reached in neither way, OSError when we cannot
        look.
        """
        in_epoll = self._take_out(generation, holders)
        others = [pid for pid in holders if pid not in in_epoll]
        shimmed = [pid for pid in others if self._calls.reaches(pid)]
        parents = {p.parent for p in map(procfs.process, holders) if p is not None}
        for pid in others:
            if pid not in shimmed and self._accepts(pid, parents):
                raise gate.GateRefused(_no_way(pid))
        return shimmed

    def _accepts(self, pid: int, parents: set[int]) -> bool:
        """Is it one that accepts, though it may be busy now? A parent of holders only holds."""
        return pid not in parents or bool(process_interest(pid, set(self._descriptors)))

    def _holders(self, generation: int) -> list[int]:
        """The processes that have a listener. Nobody else is called: a signal may meet an exec.

        One that cannot be read (it has other privileges, say) is no server of ours, unless all are.
        """
        inodes = set(self._descriptors)
        found, refused = [], None
        for pid in self._processes.of(generation):
            try:
                if inodes & set(procfs.sockets(pid).values()):
                    found.append(pid)
            except PermissionError as error:
                refused = error
        if refused is not None and not found:
            raise refused
        return found

    def _take_out(self, generation: int, pids: list[int]) -> set[int]:
        found = gate.entries(pids, set(self._descriptors))
        if found:
            gate.close(found, self._descriptors)
            self._removed.setdefault(generation, []).extend(found)
        return {entry.pid for entry in found}

    def order(self, pid: int, target: Gate, done: Callable[[str], None]) -> None:
        """Tell one process's shim.

        An order to open is never dropped: whoever does not hear it is deaf for good.
        """
        words = f"gate {target.value} " + " ".join(map(str, self._descriptors))
        self._calls.order(pid, words, done, insist=target is Gate.OPEN)

    def shimmed(self, generation: int) -> list[int]:
        """The processes that have a listener and the shim. Raises OSError."""
        return [pid for pid in self._holders(generation) if self._calls.reaches(pid)]

    def only_holds(self, generation: int, pid: int) -> bool:
        """Is it a parent of processes that accept, and does not do so itself?"""
        try:
            holders = self._holders(generation)
            parents = {p.parent for p in map(procfs.process, holders) if p is not None}
            return not self._accepts(pid, parents)
        except OSError:
            return False

    def moved(self, generation: int, gate: Gate, reason: str) -> None:
        self._moved(generation, gate, reason)


class _Round:
    """Orders to the shims of one generation, until none is left that has not heard."""

    def __init__(self, gates: Gates, generation: int, target: Gate, known: list[int]) -> None:
        self._gates = gates
        self._generation = generation
        self._target = target
        self._told = set(known)
        self._waiting: set[int] = set()
        self._error = ""

    def order(self, pids: list[int]) -> None:
        self._told.update(pids)
        self._waiting.update(pids)
        for pid in pids:
            self._gates.order(pid, self._target, partial(self._answered, pid))
        if not pids:
            self._end()

    def _answered(self, pid: int, error: str) -> None:
        self._waiting.discard(pid)
        if error and procfs.process(pid) and not self._does_not_matter(pid):
            self._error = f"process {pid}: {error}"
        if not self._waiting:
            self._end()

    def _does_not_matter(self, pid: int) -> bool:
        """A master in C that runs no Python, as uWSGI's, never answers. What it starts later is
        seen when the drain ends.
        """
        return self._target is Gate.CLOSED and self._gates.only_holds(self._generation, pid)

    def _end(self) -> None:
        """Forked by somebody who had not heard yet, a process is born with the old gate."""
        if not self._error and len(self._told) < _MOST_TOLD:
            try:
                born = [p for p in self._gates.shimmed(self._generation) if p not in self._told]
            except OSError:
                born = []
            if born:
                self.order(born)
                return
        reached = Gate.NONE if self._error else self._target
        self._gates.moved(self._generation, reached, self._error)


def _no_way(pid: int) -> str:
    return (
        f"process {pid} waits in accept, poll or select and has no shim "
        "(not Python, or started with -I, -E or -S)"
    )


def _nothing(_error: str) -> None:
    """Nobody waits for the end of this order."""
