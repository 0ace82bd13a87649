"""Whose process is it? The processes of each generation, orphans included.

The supervisor is a subreaper: what a program leaves behind becomes its child. A process belongs to
the generation of its parent; an orphan is remembered from before, or known by SOCKACT_GENERATION in
the environment that it was executed with (next to our own SOCKACT_SHIM: a supervisor may itself run
in a generation of another).

A walk through /proc is not one moment. But nobody except us reaps our own children, so they stay
where they are during a walk, zombies included; and whoever is below us is below one of them. So a
generation that has none of our children is gone, unless one of them is about to end, or a zombie,
and we do not know whose it is: it may have left children behind since our own were listed.
"""

from __future__ import annotations

import os

from sockact.core.lifecycle.model import Exit
from sockact.core.record import dataclass, field
from sockact.kernel import pidfd, procfs
from sockact.kernel.procfs import Process
from sockact.supervisor.records.carried_state import CarriedExit, CarriedProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockact.supervisor.records.carried_state import CarriedProgram

GENERATION_VARIABLE = "SOCKACT_GENERATION"
SHIM_VARIABLE = "SOCKACT_SHIM"


@dataclass(frozen=True)
class Signalled:
    """Who got a signal, and to whom the kernel does not let us send one (set-user-ID programs)."""

    reached: tuple[int, ...]
    refused: tuple[int, ...]


@dataclass
class _Seen:
    """What one walk found."""

    living: dict[int, list[int]] = field(default_factory=dict)
    present: set[int] = field(default_factory=set)
    known: dict[tuple[int, int], int] = field(default_factory=dict)
    certain: bool = True


class Processes:
    """The process table of one service, looked up anew at each question."""

    def __init__(self, shim_address: str) -> None:
        self._shim_address = shim_address
        self._roots: dict[int, int] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._failures: dict[int, Exit] = {}
        self._latest: dict[int, list[int]] = {}

    def add(self, pid: int, generation: int) -> None:
        """This child of ours is the first process of the generation."""
        self._roots[pid] = generation

    def carried(self) -> tuple[tuple[CarriedProcess, ...], tuple[CarriedProcess, ...]]:
        """(the first processes, those that are known) for the supervisor that takes our place."""
        roots = tuple(CarriedProcess(pid, number) for pid, number in self._roots.items())
        known = ((pid, number, at) for (pid, at), number in self._known.items())
        return roots, tuple(CarriedProcess(*one) for one in known)

    def carried_failures(self) -> tuple[CarriedExit, ...]:
        """How others ended, for the same."""
        return tuple(CarriedExit(*one) for one in self._failures.items())

    def take_over(self, carried: CarriedProgram) -> None:
        """Know what an earlier version of us knew."""
        self._roots = {one.pid: one.generation for one in carried.roots}
        self._known = {(one.pid, one.started): one.generation for one in carried.known}
        self._failures = {one.generation: one.exit for one in carried.failures}

    def root(self, generation: int) -> int | None:
        """The generation's first process, while it lives or is not reaped."""
        return next((pid for pid, number in self._roots.items() if number == generation), None)

    def by_generation(self) -> dict[int, list[int]]:
        """Generation → its living processes, the first one first. Raises procfs.Unavailable."""
        return self._look(_tree(os.getpid())).living

    def latest(self) -> dict[int, list[int]]:
        """As by_generation; what was found last, when nothing can be found now."""
        try:
            return self.by_generation()
        except procfs.Unavailable:
            return self._latest

    def of(self, generation: int) -> list[int]:
        """The living processes of one generation, as `latest` has them."""
        return self.latest().get(generation, [])

    def generation_of(self, pid: int) -> int | None:
        """The generation that this process belongs to, as `latest` has it."""
        found = self.latest()
        return next((number for number, pids in found.items() if pid in pids), None)

    def gone(self, generations: Iterable[int]) -> set[int] | None:
        """Those of the generations that have no process any more, not even an unreaped one.

        None when that cannot be told before another child is reaped. Raises procfs.Unavailable.
        """
        missing = set(generations) - {*self._roots.values()}
        for tree in (_tree, _whole_table):
            if not missing:
                break
            seen = self._look(tree(os.getpid()))
            missing -= seen.present
            if missing and not seen.certain:
                return None
        return missing

    def failure(self, generation: int) -> Exit | None:
        """How the last of its processes ended that was not its first and did not end cleanly.

        Forgets it.
        """
        return self._failures.pop(generation, None)

    def reap(self) -> Iterator[tuple[int, int | None, Exit]]:
        """(pid, generation whose first process it was, how it ended) of each child that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            exit = exit_of(status)
            first_of = self._roots.pop(pid, None)
            if first_of is None and not exit.clean:
                self._remember_failure(pid, exit)
            yield pid, first_of, exit

    def signal(self, generation: int, number: int) -> Signalled:
        """To the first process, which knows how to end its own; to all of them once it is gone.

        Raises procfs.Unavailable.
        """
        root = self.root(generation)
        if root is not None:
            return _signal([root], number)
        return self.signal_all(generation, number)

    def signal_all(self, generation: int, number: int) -> Signalled:
        """To every process of the generation. Raises procfs.Unavailable."""
        return _signal(self.by_generation().get(generation, []), number)

    def _remember_failure(self, pid: int, exit: Exit) -> None:
        # Nobody can have the pid of a child that we have not reaped until now.
        for (known, _started), generation in self._known.items():
            if known == pid:
                self._failures[generation] = exit

    def _look(self, tree: dict[int, list[int]]) -> _Seen:
        seen = _Seen()
        for process, generation in self._walk(tree):
            if generation is None:
                # With its memory goes its environment, a moment before it is a zombie.
                seen.certain &= not process.zombie and procfs.has_memory(process.pid)
                continue
            seen.known[process.pid, process.started] = generation
            seen.present.add(generation)
            if not process.zombie:
                seen.living.setdefault(generation, []).append(process.pid)
        self._known = seen.known
        self._latest = seen.living
        return seen

    def _walk(self, tree: dict[int, list[int]]) -> Iterator[tuple[Process, int | None]]:
        """Our children and who is below them; without a generation, only our children."""
        stack: list[tuple[int, int | None]] = [(pid, None) for pid in tree.get(os.getpid(), [])]
        while stack:
            pid, inherited = stack.pop(0)
            process = _process(pid)
            if process is None:
                continue
            generation = inherited
            if generation is None:
                generation = self._of_child(process)
            yield process, generation
            if generation is not None:
                stack += [(child, generation) for child in tree.get(pid, [])]

    def _of_child(self, process: Process) -> int | None:
        if process.pid in self._roots:
            return self._roots[process.pid]
        known = self._known.get((process.pid, process.started))
        if known is not None:
            return known
        try:
            environment = procfs.initial_environment(process.pid)
        except PermissionError:
            return None
        if environment.get(SHIM_VARIABLE.encode()) != self._shim_address.encode():
            return None
        value = environment.get(GENERATION_VARIABLE.encode(), b"")
        return int(value) if value.isdigit() else None


def _signal(pids: list[int], number: int) -> Signalled:
    # Every one of them, not only until the first that lives.
    reached, refused = [], []
    for pid in pids:
        try:
            if pidfd.send_signal(pid, number):
                reached.append(pid)
        except PermissionError:
            refused.append(pid)
    return Signalled(tuple(reached), tuple(refused))


def exit_of(status: int) -> Exit:
    """An Exit from a wait status."""
    if os.WIFSIGNALED(status):
        return Exit(signal=os.WTERMSIG(status))
    return Exit(code=os.WEXITSTATUS(status))


def _process(pid: int) -> Process | None:
    try:
        return procfs.process(pid)
    except PermissionError:
        return Process(pid, 0, 0, zombie=False)  # hidepid= hides all but that it is there.


def below(pid: int) -> list[int]:
    """The processes that descend from this one. Raises procfs.Unavailable."""
    tree = _tree(pid)
    found = [pid]
    for one in found:
        found += tree.get(one, [])
    return found[1:]


def _tree(root: int) -> dict[int, list[int]]:
    """Parent → children, below root."""
    tree: dict[int, list[int]] = {}
    try:
        queue = [root]
        while queue:
            pid = queue.pop()
            try:
                tree[pid] = procfs.children(pid)
            except PermissionError:
                tree[pid] = []
            queue += tree[pid]
    except FileNotFoundError:
        return _whole_table(root)  # A kernel without CONFIG_PROC_CHILDREN.
    return tree


def _whole_table(_root: int) -> dict[int, list[int]]:
    """Parent → children, of all processes."""
    tree: dict[int, list[int]] = {}
    for process in procfs.processes():
        tree.setdefault(process.parent, []).append(process.pid)
    return tree
