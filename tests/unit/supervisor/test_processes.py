"""Which generation a process belongs to, and whether its last process is gone."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from sockact.core.lifecycle.model import Exit
from sockact.kernel import pidfd, procfs
from sockact.kernel.procfs import Process
from sockact.supervisor.processes.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

US = os.getpid()
ADDRESS = "sockact/test"


class Table:
    """A process table to ask instead of /proc; `before` is called at each look at a process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[int, Process] = {}
        self.environments: dict[int, dict[bytes, bytes]] = {}
        self.before: Callable[[int], None] = lambda _pid: None
        self.ending: set[int] = set()
        self.ended: list[tuple[int, int]] = []
        monkeypatch.setattr(procfs, "process", self.process)
        monkeypatch.setattr(procfs, "children", self.children)
        monkeypatch.setattr(procfs, "processes", lambda: list(self.rows.values()))
        monkeypatch.setattr(procfs, "initial_environment", self.environment)
        monkeypatch.setattr(procfs, "has_memory", self.has_memory)
        monkeypatch.setattr(os, "waitpid", self.waitpid)

    def add(self, pid: int, parent: int = US, zombie: bool = False) -> None:
        self.rows[pid] = Process(pid, parent, pid, zombie)

    def orphan(self, pid: int, generation: int, address: str = ADDRESS) -> None:
        self.add(pid)
        self.environments[pid] = {
            b"SOCKACT_GENERATION": str(generation).encode(),
            b"SOCKACT_SHIM": address.encode(),
        }

    def end(self, pid: int) -> None:
        """End a process: it becomes a zombie, and its children are reparented to us."""
        self.add(pid, self.rows[pid].parent, zombie=True)
        self.environments.pop(pid, None)
        for child in [x for x in self.rows.values() if x.parent == pid]:
            self.add(child.pid)

    def process(self, pid: int) -> Process | None:
        self.before(pid)
        return self.rows.get(pid)

    def children(self, pid: int) -> list[int]:
        return [x.pid for x in self.rows.values() if x.parent == pid]

    def environment(self, pid: int) -> dict[bytes, bytes]:
        return self.environments.get(pid, {})

    def has_memory(self, pid: int) -> bool:
        return pid in self.rows and not self.rows[pid].zombie and pid not in self.ending

    def waitpid(self, _pid: int, _flags: int) -> tuple[int, int]:
        if not self.ended:
            return 0, 0
        pid, status = self.ended.pop(0)
        self.rows.pop(pid, None)
        return pid, status


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(monkeypatch)


@pytest.fixture
def processes() -> Processes:
    return Processes(ADDRESS)


def check_that_101_is_left(table: Table, processes: Processes) -> None:
    """Reap its parent, 100: the generation is not gone before 101 is."""
    table.ended = [(100, 0)]
    list(processes.reap())
    assert processes.gone([1]) == set()
    assert processes.of(1) == [101]
    table.rows.clear()
    assert processes.gone([1]) == {1}


def test_an_orphan_of_ours(table: Table, processes: Processes) -> None:
    table.orphan(100, 1)
    table.add(101, parent=100)
    assert processes.by_generation() == {1: [100, 101]}
    assert processes.gone([1, 2]) == {2}


def test_an_orphan_of_another_supervisor(table: Table, processes: Processes) -> None:
    table.orphan(100, 1, "sockact/another")
    assert processes.by_generation() == {}
    assert processes.gone([1]) == {1}


@pytest.mark.parametrize("number", ["", "1" * 5000, "-1", "1_0", "\u0661", "x", "1e308"])
def test_an_orphan_with_a_number_of_its_own(
    table: Table, processes: Processes, number: str
) -> None:
    """Its environment is its own to choose, and no reason to fail."""
    table.orphan(100, 1)
    table.environments[100][b"SOCKACT_GENERATION"] = number.encode()
    assert processes.by_generation() == {}


def test_hidden_memory(table: Table, processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hidepid=, an orphan of another user."""
    table.add(100)

    def refuse(pid: int) -> bool:
        raise PermissionError(1, "Operation not permitted", f"/proc/{pid}/statm")

    monkeypatch.setattr(procfs, "has_memory", refuse)
    assert processes.by_generation() == {}
    assert processes.gone([1]) == {1}


def test_an_environment_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may move its environment to terabytes of memory."""
    monkeypatch.setattr(procfs, "_MOST_ENVIRONMENT", 10)
    environment = procfs.initial_environment(os.getpid())
    assert sum(len(name) + len(value) for name, value in environment.items()) <= 10


def test_a_first_process_that_is_not_reaped_is_not_gone(table: Table, processes: Processes) -> None:
    processes.add(100, 1)
    table.add(100, zombie=True)
    assert processes.of(1) == []
    assert processes.gone([1]) == set()


def test_an_unreaped_orphan_is_not_gone(table: Table, processes: Processes) -> None:
    table.orphan(100, 1)
    assert processes.of(1) == [100]
    table.end(100)
    assert processes.of(1) == []
    assert processes.gone([1]) == set()


def test_a_daemon_that_forks_during_the_look_is_not_gone(
    table: Table, processes: Processes
) -> None:
    """Its intermediate process ends between being listed and being looked at."""
    table.orphan(100, 1)

    def fork(_pid: int) -> None:
        table.before = lambda _pid: None
        table.orphan(101, 1)
        table.end(100)

    table.before = fork
    assert processes.gone([1]) is None
    check_that_101_is_left(table, processes)


def test_a_known_process_is_remembered_though_its_parent_ends_during_the_look(
    table: Table, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment says nothing, and this look sees it nowhere."""
    processes.add(100, 1)
    table.add(100)
    table.add(101, parent=100)
    assert processes.of(1) == [100, 101]

    def end(pid: int) -> list[int]:
        if pid == 100:
            table.end(100)
        return table.children(pid)

    with monkeypatch.context() as patch:
        patch.setattr(procfs, "children", end)
        assert processes.of(1) == [101]
    check_that_101_is_left(table, processes)


def test_a_pid_that_another_process_has_now_is_forgotten(
    table: Table, processes: Processes
) -> None:
    processes.add(100, 1)
    table.add(100)
    table.add(101, parent=100)
    assert processes.of(1) == [100, 101]
    table.rows[101] = Process(101, 1, 5000, zombie=False)
    assert processes.of(1) == [100]
    table.rows[101] = Process(101, US, 5000, zombie=False)
    assert processes.of(1) == [100]


def test_a_daemon_whose_parent_is_about_to_end_is_not_gone(
    table: Table, processes: Processes
) -> None:
    """It has lost its environment but is no zombie yet; its child is not in our list."""
    table.add(100)
    table.ending.add(100)
    assert processes.gone([1]) is None


def test_the_table_has_what_the_children_file_lost(
    table: Table, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.orphan(100, 1)
    monkeypatch.setattr(procfs, "children", lambda _pid: [])
    assert processes.gone([1]) == set()


def test_failure_of_an_orphan(table: Table, processes: Processes) -> None:
    processes.add(100, 1)
    table.add(100)
    table.orphan(101, 1)
    table.orphan(102, 1)
    table.orphan(103, 1)
    processes.by_generation()
    table.ended = [(101, 3 << 8), (102, signal.SIGSEGV), (103, 0), (100, 1 << 8)]
    assert list(processes.reap())[-1] == (100, 1, Exit(code=1))
    assert processes.failure(1) == Exit(signal=signal.SIGSEGV)
    assert processes.failure(1) is None


def test_a_refused_signal_stops_no_other(
    table: Table, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.orphan(100, 1)
    table.orphan(101, 1)

    def send(pid: int, _number: int) -> bool:
        if pid == 100:
            raise PermissionError(1, "Operation not permitted")
        return True

    monkeypatch.setattr(pidfd, "send_signal", send)
    done = processes.signal(1, signal.SIGTERM)
    assert (done.reached, done.refused) == ((101,), (100,))


def test_an_unreadable_orphan_belongs_to_nobody(
    table: Table, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.add(100)

    def refuse(pid: int) -> dict[bytes, bytes]:
        raise PermissionError(13, "Permission denied", f"/proc/{pid}/environ")

    monkeypatch.setattr(procfs, "initial_environment", refuse)
    assert processes.by_generation() == {}


def test_a_generation_that_cannot_be_inspected_is_not_gone(
    table: Table, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.orphan(100, 1)
    assert processes.of(1) == [100]

    def want(_pid: int) -> list[int]:
        raise procfs.Unavailable(24, "Too many open files")

    monkeypatch.setattr(procfs, "children", want)
    with pytest.raises(procfs.Unavailable):
        processes.gone([1])
    assert processes.of(1) == [100], "what was known last"


def test_memory_goes_before_the_process() -> None:
    assert procfs.has_memory(US)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert not procfs.has_memory(child)
    finally:
        os.waitpid(child, 0)
    assert not procfs.has_memory(child)
