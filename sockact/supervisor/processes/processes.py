"""The processes of each generation, orphans included.

The supervisor is a subreaper: orphans of a program become its children. A process belongs to the
generation of its parent. An orphan is remembered from before, or recognized by SOCKACT_GENERATION
in its initial environment (with this supervisor's own SOCKACT_SHIM: a supervisor may itself run in
a generation of another).

A walk through /proc takes time. But only the supervisor reaps its children, so they stay in place
during a walk, zombies included; and every descendant is below one of them. So a generation is gone
if none of these children belongs to it, except when the generation of a zombie, or of a process
about to exit, is unknown: it may have left children behind after the list was read. Such children
are in no family of this walk: those that are remembered are looked at once more by their pid, since
the environment of some tells nothing.
"""

from __future__ import annotations

import os

from sockact.core.lifecycle.model import Exit
from sockact.core.numbers import whole
from sockact.core.record import dataclass, field
from sockact.kernel import pidfd, procfs
from sockact.kernel.looks import Blocked
from sockact.supervisor.processes.family import families, families_in_table, family, present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockact.kernel.procfs import Process
    from sockact.supervisor.records.carried_state import CarriedExit, CarriedProcess, CarriedProgram

GENERATION_VARIABLE = "SOCKACT_GENERATION"
SHIM_VARIABLE = "SOCKACT_SHIM"
_ATTEMPTS = 3
_DEEPEST = 1000


@dataclass(frozen=True)
class Signalled:
    """The processes that got a signal, and those that the kernel refused (set-user-ID programs)."""

    reached: tuple[int, ...]
    refused: tuple[int, ...]


@dataclass
class _Seen:
    """The result of one walk."""

    living: dict[int, list[int]] = field(default_factory=dict)
    present: set[int] = field(default_factory=set)
    known: dict[tuple[int, int], int] = field(default_factory=dict)
    certain: bool = True


class Processes:
    """The processes of one service, read from /proc on each request."""

    def __init__(self, shim_address: str) -> None:
        self._shim_address = shim_address
        self._roots: dict[int, int] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._failures: dict[int, Exit] = {}
        self._latest: dict[int, list[int]] = {}
        self._groups: dict[int, int] = {}

    def add(self, pid: int, generation: int) -> None:
        """Record this child as the first process of the generation."""
        self._roots[pid] = generation

    def carried(self) -> tuple[tuple[CarriedProcess, ...], tuple[CarriedProcess, ...]]:
        """Return (first processes, known processes) to carry over an upgrade."""
        from sockact.supervisor.records.carried_state import CarriedProcess

        roots = tuple(CarriedProcess(pid, number) for pid, number in self._roots.items())
        known = ((pid, number, at) for (pid, at), number in self._known.items())
        return roots, tuple(CarriedProcess(*one) for one in known)

    def carried_failures(self) -> tuple[CarriedExit, ...]:
        """Return how other processes ended, to carry over an upgrade."""
        from sockact.supervisor.records.carried_state import CarriedExit

        return tuple(CarriedExit(*one) for one in self._failures.items())

    def take_over(self, carried: CarriedProgram) -> None:
        """Restore the state that an upgrade carried over."""
        self._roots = {one.pid: one.generation for one in carried.roots}
        self._known = {(one.pid, one.started): one.generation for one in carried.known}
        self._failures = {one.generation: one.exit for one in carried.failures}

    def root(self, generation: int) -> int | None:
        """Return the generation's first process, until it is reaped."""
        return next((pid for pid, number in self._roots.items() if number == generation), None)

    def by_generation(self) -> dict[int, list[int]]:
        """Return each generation's living processes, the first one first.

        Raises procfs.Unavailable.
        """
        return self._look(families()).living

    def latest(self) -> dict[int, list[int]]:
        """Return `by_generation`, or the last known processes if /proc is unavailable."""
        try:
            return self.by_generation()
        except procfs.Unavailable:
            return self._latest

    def of(self, generation: int) -> list[int]:
        """Return the living processes of one generation, as in `latest`."""
        return self.latest().get(generation, [])

    def generation_of(self, pid: int) -> int | None:
        """Return the generation of this process; None for others. Raises OSError.

        Strangers ask, too: only its ancestors are looked at, not all processes.
        """
        if pid in self._roots:
            return self._roots[pid]
        for _ in range(_ATTEMPTS):
            line = self._line(pid)
            if line and line[-1].parent == os.getpid():
                return self._of_child(line[-1])
            if not line or line[-1].parent <= 1 or len(line) >= _DEEPEST:
                return None
        return None

    def _line(self, pid: int) -> list[Process]:
        """Return the process and its ancestors, up to a child of the supervisor. The line breaks
        off at an ancestor that has ended meanwhile.
        """
        line: list[Process] = []
        while pid > 1 and len(line) < _DEEPEST and (process := procfs.process(pid)):
            line.append(process)
            if process.parent == os.getpid():
                break
            pid = process.parent
        return line

    def gone(self, generations: Iterable[int]) -> set[int] | None:
        """Return those of the generations that have no process left, not even an unreaped one.

        Returns None if that is unknown until another child is reaped. Raises procfs.Unavailable.
        """
        missing = set(generations) - {*self._roots.values()}
        for look in (families, families_in_table):
            if not missing:
                break
            seen = self._look(look())
            missing -= seen.present
            if missing and not seen.certain:
                return None
        return missing

    def failure(self, generation: int) -> Exit | None:
        """Return how the last process of the generation failed that was not its first one.

        Forgets it.
        """
        return self._failures.pop(generation, None)

    def reap(self) -> Iterator[tuple[int, int | None, Exit]]:
        """Reap the children that ended; yield (pid, generation if it was its first one, exit)."""
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
        """Signal the processes `to_signal`. Raises procfs.Unavailable."""
        return send(self.to_signal(generation), number)

    def to_signal(self, generation: int) -> list[int]:
        """Return the first process, which stops its own children, or all processes if it is gone.

        Raises procfs.Unavailable.
        """
        root = self.root(generation)
        return self.by_generation().get(generation, []) if root is None else [root]

    def signal_all(self, generation: int, number: int) -> Signalled:
        """Signal every process of the generation. Raises procfs.Unavailable."""
        return send(self.by_generation().get(generation, []), number)

    def _remember_failure(self, pid: int, exit: Exit) -> None:
        # The pid cannot have been reused: the child was only just reaped.
        for (known, _started), generation in self._known.items():
            if known == pid:
                self._failures[generation] = exit

    def group_of(self, pid: int) -> int | None:
        """Return the generation of this process, as far as it is known from before."""
        return self._roots.get(pid) or self._groups.get(pid)

    def _look(self, found: dict[int, list[int] | None]) -> _Seen:
        seen = _Seen()
        for child, members in found.items():
            try:
                self._look_at(family(child, members), seen)
            except Blocked:
                self._presume(child, seen)
        self._recall(seen)
        self._known = seen.known
        self._latest = seen.living
        self._groups = {pid: number for number, pids in seen.living.items() for pid in pids}
        return seen

    def _look_at(self, members: list[Process], seen: _Seen) -> None:
        """Take note of a child and its descendants."""
        if not members:
            return
        child = members[0]
        generation = self._of_child(child)
        if generation is None:
            # A process loses its memory, and so its environment, just before it is a zombie.
            seen.certain &= not child.zombie and _has_memory(child.pid)
            return
        seen.present.add(generation)
        for process in members:
            self._add(process, generation, seen)

    def _presume(self, child: int, seen: _Seen) -> None:
        """Take a child that keeps the kernel from answering for as it was before."""
        generation = self.group_of(child)
        if generation is None:
            seen.certain = False
            return
        seen.present.add(generation)
        seen.known.update((x, number) for x, number in self._known.items() if number == generation)
        seen.living[generation] = [*self._latest.get(generation, [child])]

    def _recall(self, seen: _Seen) -> None:
        """Take note of remembered processes that became children of ours during the walk."""
        missed: dict[int, list[int]] = {}
        for (pid, started), generation in self._known.items():
            if started and (pid, started) not in seen.known:
                missed.setdefault(generation, []).append(pid)
        for generation, pids in missed.items():
            try:
                found = [x for x in present(pids) if (x.pid, x.started) in self._known]
            except Blocked:
                continue  # Else one that has ended would be presumed to be there for good.
            for process in found:
                seen.present.add(generation)
                self._add(process, generation, seen)

    def _add(self, process: Process, generation: int, seen: _Seen) -> None:
        seen.known[process.pid, process.started] = generation
        if not process.zombie:
            seen.living.setdefault(generation, []).append(process.pid)

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
        return whole(environment.get(GENERATION_VARIABLE.encode(), b""))


def send(pids: list[int], number: int) -> Signalled:
    """Signal processes: all of them, even after one has been refused. Raises Unavailable."""
    reached, refused = [], []
    for pid in pids:
        try:
            if pidfd.send_signal(pid, number):
                reached.append(pid)
        except PermissionError:
            refused.append(pid)
    return Signalled(tuple(reached), tuple(refused))


def exit_of(status: int) -> Exit:
    """Return the Exit for a wait status."""
    if os.WIFSIGNALED(status):
        return Exit(signal=os.WTERMSIG(status))
    return Exit(code=os.WEXITSTATUS(status))


def _has_memory(pid: int) -> bool:
    try:
        return procfs.has_memory(pid)
    except PermissionError:
        return True  # hidepid= hides that it is about to exit. It will be reaped.
