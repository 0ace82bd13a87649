"""Opens and closes the gates of generations: docs/gate.md.

A process that has a listener waits for it in epoll, whose entries are edited from here, or it has
the shim, which is told to close. Otherwise the generation's gate is `none`, with a reason. If the
supervisor may not edit the epoll instances of a process, its shim does that, too. A generation that
has a lane of its own needs nothing of this (lane_gates.py). While nobody is to get the clients, a
gate that cannot be closed in the program is closed at the listeners (admission_gates.py).
"""

from __future__ import annotations

from functools import partial

from sockact.core.lifecycle.model import Gate
from sockact.core.matching import Kind
from sockact.handover import gate
from sockact.handover.interest import accepts, process_interest
from sockact.kernel import looks, procfs
from sockact.supervisor.gates.gate_move import GateMove
from sockact.supervisor.gates.mechanisms import Mechanisms, executes_another
from sockact.supervisor.gates.shim_orders import ShimOrders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.handover.gate import Entry
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.gates.admission_gates import AdmissionGates
    from sockact.supervisor.gates.lane_gates import LaneGates
    from sockact.supervisor.gates.shim_orders import Notice
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls
    from sockact.supervisor.records.carried_state import CarriedGeneration

    # (generation, gate, reason)
    Moved = Callable[[int, Gate, str], None]


LANE = "lane"
"""What `status` shows for a generation that has a lane of its own."""


class Gates:
    """The gates of all generations of one service."""

    def __init__(
        self,
        processes: Processes,
        calls: ShimCalls,
        listeners: list[Listener],
        lanes: LaneGates,
        admission: AdmissionGates,
        moved: Moved,
        notice: Notice,
    ) -> None:
        self._processes = processes
        self._calls = calls
        self._mechanisms = Mechanisms(calls, listeners)
        self._lanes = lanes
        self._admission = admission
        self._datagrams = {x.inode for x in listeners if x.address.kind is Kind.DATAGRAM}
        self._descriptors = {x.inode: x.socket.fileno() for x in listeners}
        self.orders = ShimOrders(processes, calls, self._mechanisms, self._descriptors, notice)
        self._moved = moved
        self._removed: dict[int, dict[tuple[int, ...], Entry]] = {}
        self._closing_again: set[int] = set()
        self._moves: dict[int, GateMove] = {}

    def close(self, generation: int, *, hold: bool = False) -> None:
        """Begin to close; `moved` gets the result. NONE: perhaps closed in part. With `hold`, keep
        connections from beginning if it cannot be closed in the program.
        """
        if self._lanes.close(generation):
            return
        orders = partial(self._orders_to_close, generation)
        done = partial(self._hold_if_needed if hold else self._moved, generation)
        matters = partial(self._accepts, generation)
        self._begin(generation, GateMove(Gate.CLOSED, orders, self._tell, done, matters))

    def open(self, generation: int) -> None:
        """Begin to open; `moved` gets the result. NONE: some processes no longer accept.

        Raises Unavailable: then call it again later.
        """
        if self._lanes.open(generation):
            return
        self._supersede(generation)
        try:
            gate.open([*self._removed.get(generation, {}).values()], self._descriptors)
        except gate.GateRefused as error:
            self._removed.pop(generation, None)
            self._moved(generation, Gate.NONE, str(error))
            return
        self._removed.pop(generation, None)
        orders = partial(self._orders_to_open, generation)
        # Insist: a process that misses an order to open would never accept again.
        tell = partial(self._tell, insist=True)
        done = partial(self._moved, generation)
        self._begin(generation, GateMove(Gate.OPEN, orders, tell, done, _may_live))

    def _begin(self, generation: int, move: GateMove) -> None:
        self._supersede(generation)
        self._moves[generation] = move
        move.begin()

    def _supersede(self, generation: int) -> None:
        # It would go on closing in processes that are forked after the order to open, and its
        # failure would be taken for a failure to open.
        if move := self._moves.pop(generation, None):
            move.supersede()

    def _hold_if_needed(self, generation: int, moved: Gate, reason: str) -> None:
        """Take note of a gate that had to close in the program, or close it otherwise."""
        out = {entry.inode for entry in self._removed.get(generation, {}).values()}
        if moved is Gate.CLOSED and self._lanes.inodes(generation) & self._datagrams - out:
            moved, reason = Gate.NONE, "it waits for datagrams outside of epoll"
        if moved is Gate.NONE:
            self._admission.close(generation, reason)
        else:
            self._moved(generation, moved, reason)

    def keep_closed(self, generation: int) -> None:
        """Close what accepts again, or hold it back: a new worker, say. Raises OSError."""
        if self._admission.is_closing(generation):
            return
        held, _ = self._mechanisms.holders(self._processes.of(generation))
        epolls = {pid: procfs.sockets_and_epolls(pid)[1] for pid in held}
        try:
            self.close_reopened(generation, epolls)
        except gate.GateRefused as error:
            self._admission.close(generation, str(error))

    def end_hold(self) -> None:
        """Let connections begin again at all listeners. Raises Unavailable."""
        try:
            self._admission.open()
        except OSError as error:
            raise looks.as_unavailable(error) from None

    def close_reopened(self, generation: int, holders: dict[int, list[int]]) -> bool:
        """Close what accepts again (a new worker, say). Return whether there was any.

        `holders`: the processes that have a listener → their epoll instances. Raises GateRefused
        and OSError if there may be some, but none could be closed.
        """
        if self._lanes.is_closed(generation):
            return False  # It goes on waiting in its lane, where nobody comes any more.
        found = gate.entries_in(holders, set(self._descriptors))
        taken, denied = self._take_out(generation, found)
        closed, failure = bool(taken), None
        for pid in holders:
            if pid in taken:
                continue
            try:
                if pid in denied or self._waits(pid):
                    closed |= self._close_again(pid)
            except OSError as error:
                failure = error  # It must not keep the others from being closed.
        if failure and not closed:
            raise failure
        return closed

    def _waits(self, pid: int) -> bool:
        """Whether a thread is blocked in accept, poll or select on a listener.

        False if the kernel refuses to tell (Yama): it would never tell.
        """
        try:
            return accepts(pid, self._mechanisms.streams)
        except PermissionError:
            return False

    def has_waiting(self, generation: int) -> bool:
        """Whether it has still to accept what its lane had got before its gate closed.

        Raises OSError.
        """
        return self._lanes.has_waiting(generation)

    def mechanism(self, generation: int, pids: Iterable[int]) -> tuple[str | None, str]:
        """Return gate_by and gate_reason of the Status: how the gate of these processes moves."""
        if self._lanes.is_own(generation):
            return LANE, ""
        removed: dict[int, set[int]] = {}
        for entry in self._removed.get(generation, {}).values():
            removed.setdefault(entry.pid, set()).add(entry.inode)
        return self._mechanisms.of(generation, pids, removed)

    def edited_epolls(self, generation: int) -> dict[int, set[int]]:
        """Return, by process, the epoll instances that a listener was taken out of."""
        found: dict[int, set[int]] = {}
        for entry in self._removed.get(generation, {}).values():
            found.setdefault(entry.pid, set()).add(entry.epfd)
        return found

    def is_bypassed(self, generation: int) -> bool:
        """Whether its gate is closed by steering clients to another lane."""
        return self._lanes.is_closed(generation)

    def carried(self, generation: int) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """Return what was taken out of epoll, and the adapters that were reported, for the version
        that takes over.
        """
        removed = tuple(self._removed.get(generation, {}).values())
        return removed, self.orders.unfit(generation)

    def take_over(self, carried: CarriedGeneration) -> None:
        """Restore the state of a generation that the previous version handed over."""
        if carried.removed:
            self._removed[carried.number] = {entry.place: entry for entry in carried.removed}
        if carried.bypassed:
            self._lanes.take_over(carried.number)
        self.orders.take_over(carried.number, carried.unfit)

    def forget(self, generation: int) -> None:
        """Forget a generation that has ended."""
        self._supersede(generation)
        self._lanes.forget(generation)
        self._removed.pop(generation, None)
        self._mechanisms.forget(generation)
        self.orders.forget(generation)

    def _orders_to_close(self, generation: int, told: set[int]) -> dict[int, str]:
        """Take the listeners out of epoll; return the orders to the shims, "" for no order.

        Raises GateRefused if a process can be reached in neither way, OSError if the processes
        cannot be read.
        """
        held, hidden = self._holders(generation, told)
        taken, denied = self._take_out(generation, gate.entries(held, set(self._descriptors)))
        parents = {p.parent for p in map(procfs.process, held) if p is not None}
        orders = {pid: _to_close(self._descriptors, True) for pid in hidden}
        for pid, inodes in held.items():
            # A listener that was taken out of epoll must not get a decoy, too.
            out = taken.get(pid, set())
            refused = denied.get(pid, "")
            # A busy process is presumed to accept, unless it is a parent that only keeps the
            # listener for its children, or was just forked and may execute another program.
            keeps = pid in taken or pid in parents or executes_another(pid, taken)
            presumed = not (told or keeps)
            shimmed = self._mechanisms.by_shim(pid, inodes - out, refused, presumed)
            others = self._descriptors.keys() - out
            orders[pid] = _to_close(others, bool(refused)) if shimmed else ""
        return orders

    def _accepts(self, generation: int, pid: int) -> bool:
        """Whether the process may still accept, so that an order it has not carried out matters.

        A parent may only keep the listener for its children, like the master of uWSGI, which
        embeds Python, runs none and answers no call. What it forks later is seen in the census.
        """
        try:
            if not procfs.lives(pid):
                return False
            keeps = bool(self._mechanisms.holders(self._children(generation, pid))[0])
            return not keeps or bool(process_interest(pid, set(self._descriptors)))
        except OSError:
            return _may_live(pid)

    def _children(self, generation: int, pid: int) -> list[int]:
        """Return the children of a process of the generation. Raises OSError."""
        try:
            return procfs.children(pid)
        except FileNotFoundError:  # A kernel without CONFIG_PROC_CHILDREN.
            found = filter(None, map(procfs.process, self._processes.of(generation)))
            return [process.pid for process in found if process.parent == pid]

    def _orders_to_open(self, generation: int, told: set[int]) -> dict[int, str]:
        # Processes that were forked while the gate was closed have the listener, too.
        words = "gate open " + " ".join(map(str, self._descriptors))
        return {pid: words for pid in self.orders.processes(generation) if pid not in told}

    def _holders(self, generation: int, told: set[int]) -> tuple[dict[int, set[int]], list[int]]:
        held, hidden = self._mechanisms.holders(self._processes.of(generation))
        unheard = {pid: inodes for pid, inodes in held.items() if pid not in told}
        return unheard, [pid for pid in hidden if pid not in told]

    def _take_out(
        self, generation: int, found: list[Entry]
    ) -> tuple[dict[int, set[int]], dict[int, str]]:
        """Take listeners out of epoll. Return them by process, and the processes that cannot be
        edited from outside, with the reasons.

        Raises GateRefused, OSError.
        """
        if not found:
            return {}, {}
        removed = self._removed.setdefault(generation, {})
        try:
            denied = gate.close(found, self._descriptors)
        except gate.GateRefused:
            # Some may have been removed. Restoring the others later has no effect.
            removed.update((entry.place, entry) for entry in found)
            raise
        out = [entry for entry in found if entry.pid not in denied]
        # Replace older entries: their data may be a pointer to memory that is freed by now.
        removed.update((entry.place, entry) for entry in out)
        taken: dict[int, set[int]] = {}
        for entry in out:
            taken.setdefault(entry.pid, set()).add(entry.inode)
        return taken, denied

    def _close_again(self, pid: int) -> bool:
        """Order the shim to close, unless it is doing so; return whether there is a shim."""
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


def _to_close(inodes: Iterable[int], everywhere: bool) -> str:
    """Return the order to close of docs/shim.md."""
    return " ".join(["gate closed", *(["all"] if everywhere else []), *map(str, inodes)])


def _may_live(pid: int) -> bool:
    try:
        return procfs.lives(pid)
    except OSError:
        return True  # It is hidden, or /proc cannot be read now.
