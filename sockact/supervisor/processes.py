"""Whose process is it? The processes of each generation, orphans included.

The supervisor is a subreaper: what a program leaves behind becomes its child. A process belongs to
the generation of its parent; an orphan is remembered from before, or known by SOCKACT_GENERATION in
the environment that it was executed with.
"""

from __future__ import annotations

import os

from sockact.core.model import Exit
from sockact.kernel import pidfd, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.kernel.procfs import Process

GENERATION_VARIABLE = "SOCKACT_GENERATION"


class Processes:
    """The process table of one service, looked up anew at each question."""

    def __init__(self) -> None:
        self._roots: dict[int, int] = {}
        self._known: dict[tuple[int, int], int] = {}

    def add(self, pid: int, generation: int) -> None:
        """This child of ours is the first process of the generation."""
        self._roots[pid] = generation

    def root(self, generation: int) -> int | None:
        """The generation's first process, while it lives or is not reaped."""
        return next((pid for pid, number in self._roots.items() if number == generation), None)

    def by_generation(self) -> dict[int, list[int]]:
        """Generation → its living processes, the first one first."""
        found: dict[int, list[int]] = {}
        known: dict[tuple[int, int], int] = {}
        for process, generation in self._walk():
            known[process.pid, process.started] = generation
            if not process.zombie:
                found.setdefault(generation, []).append(process.pid)
        self._known = known
        return found

    def of(self, generation: int) -> list[int]:
        """The living processes of one generation."""
        return self.by_generation().get(generation, [])

    def reap(self) -> Iterator[tuple[int, int | None, Exit]]:
        """(pid, generation whose first process it was, how it ended) of each child that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            yield pid, self._roots.pop(pid, None), exit_of(status)

    def signal(self, generation: int, number: int) -> bool:
        """To the first process, which knows how to end its own; to all of them once it is gone.

        False when there was nobody to signal.
        """
        root = self.root(generation)
        return _signal([root] if root is not None else self.of(generation), number)

    def signal_all(self, generation: int, number: int) -> bool:
        """To every process of the generation; False when there was nobody to signal."""
        return _signal(self.of(generation), number)

    def _walk(self) -> Iterator[tuple[Process, int]]:
        tree = _tree(os.getpid())
        stack: list[tuple[int, int | None]] = [(pid, None) for pid in tree.get(os.getpid(), [])]
        while stack:
            pid, inherited = stack.pop(0)
            process = procfs.process(pid)
            if process is None:
                continue
            generation = inherited
            if generation is None:
                generation = self._of_child(process)
            if generation is None:
                continue
            yield process, generation
            stack += [(child, generation) for child in tree.get(pid, [])]

    def _of_child(self, process: Process) -> int | None:
        if process.pid in self._roots:
            return self._roots[process.pid]
        known = self._known.get((process.pid, process.started))
        if known is not None:
            return known
        value = procfs.initial_environment(process.pid).get(GENERATION_VARIABLE.encode(), b"")
        return int(value) if value.isdigit() else None


def _signal(pids: list[int], number: int) -> bool:
    # Every one of them, not only until the first that lives.
    reached = [pid for pid in pids if pidfd.send_signal(pid, number)]
    return bool(reached)


def exit_of(status: int) -> Exit:
    """An Exit from a wait status."""
    if os.WIFSIGNALED(status):
        return Exit(signal=os.WTERMSIG(status))
    return Exit(code=os.WEXITSTATUS(status))


def _tree(root: int) -> dict[int, list[int]]:
    """Parent → children, below root."""
    tree: dict[int, list[int]] = {}
    try:
        queue = [root]
        while queue:
            pid = queue.pop()
            tree[pid] = procfs.children(pid)
            queue += tree[pid]
    except FileNotFoundError:
        # A kernel without CONFIG_PROC_CHILDREN: read the whole table.
        tree = {}
        for process in procfs.processes():
            tree.setdefault(process.parent, []).append(process.pid)
    return tree
