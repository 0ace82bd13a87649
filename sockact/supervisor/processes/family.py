"""Families: a process and all its descendants, as /proc shows them.

A family is looked at in one go, because each look at another process has its price.
"""

from __future__ import annotations

import os

from sockact.kernel import looks, procfs
from sockact.kernel.looks import apart
from sockact.kernel.procfs import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    # (pid, parent, started, zombie)
    _Row = tuple[int, int, int, bool]


def families() -> dict[int, list[int] | None]:
    """The children of this process; `family` finds their descendants. Raises Unavailable.

    The helpers of looks.py are left out.
    """
    try:
        children = procfs.children(os.getpid())
    except FileNotFoundError:
        return families_in_table()  # A kernel without CONFIG_PROC_CHILDREN.
    return dict.fromkeys(_programs(children))


def families_in_table() -> dict[int, list[int] | None]:
    """The children of this process, each with itself and its descendants, by a look at all
    processes of the machine. Raises Unavailable.
    """
    tree: dict[int, list[int]] = {}
    for process in procfs.processes():
        tree.setdefault(process.parent, []).append(process.pid)
    return {child: _below(child, tree) for child in _programs(tree.get(os.getpid(), []))}


def _programs(children: list[int]) -> list[int]:
    helpers = looks.helpers()
    return [pid for pid in children if pid not in helpers]


def family(pid: int, members: list[int] | None = None) -> list[Process]:
    """The process and its descendants, parents first. Raises Unavailable."""
    return [Process(*row) for row in _look(pid)] if members is None else present(members)


def present(pids: list[int]) -> list[Process]:
    """Those of the processes that are there; `started` is 0 where hidepid= hides it. Raises
    Unavailable.
    """
    return [Process(*row) for row in _look_at(pids)]


def descendants(pid: int) -> list[int]:
    """The descendants of a process. Raises Unavailable."""
    return _descendants(pid)


@apart
def _look(pid: int) -> list[_Row]:
    return _rows(_below(pid, _tree(pid)))


@apart
def _look_at(pids: list[int]) -> list[_Row]:
    return _rows(pids)


@apart
def _descendants(pid: int) -> list[int]:
    return _below(pid, _tree(pid))[1:]


def _rows(pids: Iterable[int]) -> list[_Row]:
    found = []
    for pid in pids:
        try:
            process = procfs.process(pid)
        except PermissionError:
            found.append((pid, 0, 0, False))  # hidepid= hides everything but its existence.
            continue
        if process:
            found.append((pid, process.parent, process.started, process.zombie))
    return found


def _below(pid: int, tree: dict[int, list[int]]) -> list[int]:
    found = [pid]
    for one in found:
        found += tree.get(one, [])
    return found


def _tree(root: int) -> dict[int, list[int]]:
    """Return the children by parent, below root."""
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
        # A kernel without CONFIG_PROC_CHILDREN.
        tree = {}
        for process in procfs.processes():
            tree.setdefault(process.parent, []).append(process.pid)
    return tree
