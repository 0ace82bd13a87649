"""Orders to all processes of a generation that have the shim and a listener."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from sockact.supervisor.gates.mechanisms import Mechanisms
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls

    # (generation, message)
    Notice = Callable[[int, str], None]


_MOST_UNFIT = 50
"""Adapters to report for a generation. Their names come from the program, which may invent any."""


class ShimOrders:
    """The orders to the shims of one service."""

    def __init__(
        self,
        processes: Processes,
        calls: ShimCalls,
        mechanisms: Mechanisms,
        inodes: Iterable[int],
        notice: Notice,
    ) -> None:
        """`inodes` are those of the listeners. `notice` reports adapters that do not fit."""
        self._processes = processes
        self._calls = calls
        self._mechanisms = mechanisms
        inodes = tuple(inodes)
        self._drain = " ".join(map(str, ["drain", *inodes]))
        self._spare = " ".join(map(str, ["spare", *inodes]))
        self._notice = notice
        self._unfit: dict[int, set[str]] = {}

    def processes(self, generation: int) -> list[int]:
        """Return the processes with the shim that have a listener, or may have one.

        Raises OSError.
        """
        held, hidden = self._mechanisms.holders(self._processes.of(generation))
        return [*(pid for pid in held if self._calls.reaches(pid)), *hidden]

    def give(
        self,
        generation: int,
        words: str,
        done: Callable[[], None] | None = None,
        heard: Callable[[list[str]], None] | None = None,
        among: Collection[int] | None = None,
    ) -> bool:
        """Give an order to all these processes, or those `among` them; return whether there are
        any.

        `done` is called once, when each has carried the order out or will not; `heard` gets each
        answer.
        """
        try:
            pids = self.processes(generation)
            if among is not None:
                pids = [pid for pid in pids if pid in among]
        except OSError:
            return False
        waiting = set(pids)

        def answered(pid: int, _error: str) -> None:
            waiting.discard(pid)
            if not waiting and done is not None:
                done()

        for pid in pids:
            self._calls.order(pid, words, partial(answered, pid), heard=heard)
        return bool(pids)

    def end_connections(self, generation: int, among: Collection[int] | None = None) -> None:
        """Ask every shim, or those of the processes `among` them, to end each connection with its
        next response, and to keep the program from shutting a listener down.
        """
        # If there are none, the drain only takes longer.
        adapted = partial(self._adapted, generation)
        self.give(generation, self._drain, heard=adapted, among=among)

    def spare_listeners(self, generation: int) -> None:
        """Ask every shim to keep the program from shutting a listener down."""
        self.give(generation, self._spare)

    def keep_connections(self, generation: int) -> None:
        """Undo `end_connections`."""
        self.give(generation, "serve")

    def unfit(self, generation: int) -> tuple[str, ...]:
        """Return the adapters that were reported, for the version that takes over."""
        return tuple(sorted(self._unfit.get(generation, ())))

    def take_over(self, generation: int, unfit: tuple[str, ...]) -> None:
        """Take note of the adapters that the previous version has reported."""
        if unfit:
            self._unfit[generation] = {*unfit}

    def forget(self, generation: int) -> None:
        """Forget a generation that has ended."""
        self._unfit.pop(generation, None)

    def _adapted(self, generation: int, answer: list[str]) -> None:
        """Report, once each, the adapters that did not fit: `drain ADAPTER …`."""
        known = self._unfit.setdefault(generation, set())
        for word in filter(str.isprintable, answer[1:]):
            name, unfit, version = word.partition("!")
            if unfit and name not in known and len(known) < _MOST_UNFIT:
                known.add(name)
                found = f" ({name} {version})" if version else ""
                self._notice(
                    generation,
                    f"the adapter for {name} does not support the installed version{found}; "
                    "its keep-alive connections end only when they are idle",
                )
