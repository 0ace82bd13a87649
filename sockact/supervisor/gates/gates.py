"""Moving the gate of a generation: by its epoll instances from outside, by the shim inside.

A process that holds a listener is either in epoll (edited from here), or it has the shim (told to
close), or it cannot be gated, and then the generation's gate is `none`, with the reason. Where we
are not let to edit a process's epoll instances, its shim does that, too.
"""

from __future__ import annotations

from functools import partial

from sockact.core.lifecycle.model import Gate
from sockact.handover import gate
from sockact.handover.interest import process_interest
from sockact.kernel import procfs
from sockact.supervisor.gates.round import Round
from sockact.supervisor.gates.ways import Ways

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.handover.gate import Entry
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls
    from sockact.supervisor.records.carried_state import CarriedGeneration

    # (generation, gate, reason)
    Moved = Callable[[int, Gate, str], None]
    # (generation, message)
    Notice = Callable[[int, str], None]


# The words come from the program: whatever it makes up, it does not fill the journal.
_MOST_UNFIT = 50


class Gates:
    """The gates of all generations of one service."""

    def __init__(
        self,
        processes: Processes,
        calls: ShimCalls,
        listeners: list[Listener],
        moved: Moved,
        notice: Notice,
    ) -> None:
        self._processes = processes
        self._calls = calls
        self._ways = Ways(calls, listeners)
        self._descriptors = {x.inode: x.socket.fileno() for x in listeners}
        self._moved = moved
        self._notice = notice
        self._unfit: dict[int, set[str]] = {}
        self._removed: dict[int, dict[tuple[int, ...], Entry]] = {}
        self._closing_again: set[int] = set()
        self._rounds: dict[int, Round] = {}

    def close(self, generation: int) -> None:
        """Begin to close; `moved` tells the end. NONE: closed in part, perhaps."""
        orders = partial(self._orders_to_close, generation)
        over = partial(self._moved, generation)
        matters = partial(self._accepts, generation)
        self._begin(generation, Round(Gate.CLOSED, orders, self._tell, over, matters))

    def open(self, generation: int) -> None:
        """Begin to open; `moved` tells the end. NONE: it hears of no client any more."""
        self._supersede(generation)
        try:
            gate.open([*self._removed.pop(generation, {}).values()], self._descriptors)
        except gate.GateRefused as error:
            self._moved(generation, Gate.NONE, str(error))
            return
        orders = partial(self._orders_to_open, generation)
        # An order to open is never dropped: whoever does not hear it is deaf for good.
        tell = partial(self._tell, insist=True)
        over = partial(self._moved, generation)
        self._begin(generation, Round(Gate.OPEN, orders, tell, over, procfs.lives))

    def _begin(self, generation: int, move: Round) -> None:
        self._supersede(generation)
        self._rounds[generation] = move
        move.begin()

    def _supersede(self, generation: int) -> None:
        # It would go on closing what is born after the order to open, and its failure would be
        # taken for that of the other.
        if move := self._rounds.pop(generation, None):
            move.supersede()

    def reopened(self, generation: int, holders: dict[int, list[int]]) -> bool:
        """Has a process of a closed generation (a new worker, say) gone back to accepting?

        `holders`: the processes that have a listener → their epoll instances. What is found is
        closed again.
        """
        try:
            found = gate.entries_in(holders, set(self._descriptors))
            taken, kept_out = self._take_out(generation, found)
            accepting = [
                pid for pid in holders if pid in kept_out or (pid not in taken and self._waits(pid))
            ]
        except (gate.GateRefused, OSError):
            return False
        again = [self._close_again(pid) for pid in accepting]
        return bool(taken) or any(again)

    def _waits(self, pid: int) -> bool:
        """Is a thread blocked in accept, poll or select on a listener?"""
        # To learn which, every descriptor has to be looked at; first see whether there is a call.
        return bool(procfs.blocked_calls(pid)) and bool(process_interest(pid, self._ways.streams))

    def way(self, generation: int, pids: Iterable[int]) -> tuple[str | None, str]:
        """How the gate moves, which has these processes: gate_by and gate_reason of the Status."""
        removed: dict[int, set[int]] = {}
        for entry in self._removed.get(generation, {}).values():
            removed.setdefault(entry.pid, set()).add(entry.inode)
        return self._ways.of(generation, pids, removed)

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

    def keep_connections(self, generation: int) -> None:
        """Take last_responses back."""
        try:
            shimmed = self.shimmed(generation)
        except OSError:
            return  # It goes on to end each connection with its next response.
        for pid in shimmed:
            self._calls.order(pid, "serve", _nothing)

    def loops(self, generation: int) -> dict[int, set[int]]:
        """Process → the epoll instances that a listener was taken out of."""
        found: dict[int, set[int]] = {}
        for entry in self._removed.get(generation, {}).values():
            found.setdefault(entry.pid, set()).add(entry.epfd)
        return found

    def carried(self, generation: int) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """(what was taken out of epoll, the adapters that were reported) of a generation, for the
        supervisor that takes our place.
        """
        removed = tuple(self._removed.get(generation, {}).values())
        return removed, tuple(sorted(self._unfit.get(generation, ())))

    def take_over(self, carried: CarriedGeneration) -> None:
        """Know what an earlier version of us knew."""
        if carried.removed:
            self._removed[carried.number] = {entry.place: entry for entry in carried.removed}
        if carried.unfit:
            self._unfit[carried.number] = {*carried.unfit}

    def forget(self, generation: int) -> None:
        self._supersede(generation)
        self._removed.pop(generation, None)
        self._ways.forget(generation)
        self._unfit.pop(generation, None)

    def _orders_to_close(self, generation: int, told: set[int]) -> dict[int, str]:
        """Take the listeners out of epoll; what has to be told to whom, "" to nobody.

        Raises GateRefused when a process can be reached in neither way, OSError when we cannot
        look.
        """
        held, hidden = self._holders(generation, told)
        taken, kept_out = self._take_out(generation, gate.entries(held, set(self._descriptors)))
        parents = {p.parent for p in map(procfs.process, held) if p is not None}
        orders = {pid: _to_close(self._descriptors, True) for pid in hidden}
        for pid, inodes in held.items():
            # What was taken out of epoll must not get a decoy, too.
            out = taken.get(pid, set())
            refused = kept_out.get(pid, "")
            # It may be busy now, but accepts, unless it is a parent of holders, which only holds,
            # or was born a moment ago, and is on its way to becoming another program.
            presumed = not (told or pid in taken or pid in parents)
            shimmed = self._ways.by_shim(pid, inodes - out, refused, presumed)
            others = self._descriptors.keys() - out
            orders[pid] = _to_close(others, bool(refused)) if shimmed else ""
        return orders

    def _accepts(self, generation: int, pid: int) -> bool:
        """Does it matter that it has not closed? A parent of holders may only hold, as the master
        of uWSGI, which embeds Python, runs none and answers no call. What it starts later is seen
        when the drain ends.
        """
        try:
            held, _ = self._ways.holders(self._processes.of(generation))
            parents = {p.parent for p in map(procfs.process, held) if p is not None}
            waits = pid not in parents or bool(process_interest(pid, set(self._descriptors)))
            return waits and procfs.lives(pid)
        except OSError:
            return procfs.lives(pid)

    def _orders_to_open(self, generation: int, told: set[int]) -> dict[int, str]:
        # Also processes that were forked while the gate was closed: they hold the listener.
        words = "gate open " + " ".join(map(str, self._descriptors))
        return {pid: words for pid in self.shimmed(generation) if pid not in told}

    def _holders(self, generation: int, told: set[int]) -> tuple[dict[int, set[int]], list[int]]:
        held, hidden = self._ways.holders(self._processes.of(generation))
        unheard = {pid: inodes for pid, inodes in held.items() if pid not in told}
        return unheard, [pid for pid in hidden if pid not in told]

    def _take_out(
        self, generation: int, found: list[Entry]
    ) -> tuple[dict[int, set[int]], dict[int, str]]:
        """The listeners that were taken out, by process; the processes that kept us out, and why.

        Raises GateRefused, OSError.
        """
        if not found:
            return {}, {}
        removed = self._removed.setdefault(generation, {})
        try:
            kept_out = gate.close(found, self._descriptors)
        except gate.GateRefused:
            # In part, perhaps; to put back one that is there does nothing.
            removed.update((entry.place, entry) for entry in found)
            raise
        out = [entry for entry in found if entry.pid not in kept_out]
        # What a program puts in anew may have other data: what it had before may be freed memory.
        removed.update((entry.place, entry) for entry in out)
        taken: dict[int, set[int]] = {}
        for entry in out:
            taken.setdefault(entry.pid, set()).add(entry.inode)
        return taken, kept_out

    def _close_again(self, pid: int) -> bool:
        """Tell the shim, unless that is under way; False when there is none."""
        if pid not in self._closing_again:
            if not self._calls.reaches(pid):
                return False
            self._closing_again.add(pid)
            words = _to_close(self._descriptors, True)
            self._tell(pid, words, lambda _: self._closing_again.discard(pid))
        return True

    def _tell(
        self, pid: int, words: str, done: Callable[[str], None], insist: bool = False
    ) -> None:
        self._calls.order(pid, words, done, insist=insist)

    def shimmed(self, generation: int) -> list[int]:
        """The processes that have a listener, or may have one, and the shim. Raises OSError."""
        held, hidden = self._ways.holders(self._processes.of(generation))
        return [*(pid for pid in held if self._calls.reaches(pid)), *hidden]


def _to_close(inodes: Iterable[int], everywhere: bool) -> str:
    """The order of docs/shim.md."""
    return " ".join(["gate closed", *(["all"] if everywhere else []), *map(str, inodes)])


def _nothing(_error: str) -> None:
    """Nobody waits for the end of this order."""
