"""Which looks are refused because of a process that keeps the kernel from answering."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import helper, looks, procfs
from sockact.kernel.looks import Blocked
from sockact.supervisor.processes.family import families
from sockact.supervisor.processes.processes import Processes
from tests.support.helpers import never_answers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def children() -> Iterator[tuple[int, int]]:
    """Two children, of no generation, and helpers whose groups stay refused."""
    with (
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as one,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE) as two,
    ):
        yield one.pid, two.pid
        looks.end()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Processes:
    monkeypatch.setattr(helper, "_PAUSES", (3600.0,))
    found = Processes("sockact/test")
    looks.begin(found.group_of, lambda _group, _message: None)
    return found


def test_an_orphan_of_no_known_generation(found: Processes, children: tuple[int, int]) -> None:
    """It is a group of its own: the generations' processes are found as before."""
    orphan, program = children
    found.add(program, 1)
    assert found.by_generation() == {1: [program]}
    with pytest.raises(Blocked):
        never_answers(orphan)
    with pytest.raises(Blocked):
        procfs.process(orphan)
    assert found.by_generation() == {1: [program]}
    assert found.gone([1]) == set()
    assert procfs.process(os.getppid())


def test_children_are_found_even_if_no_other_look_is_made(
    found: Processes, children: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "_MOST_GIVEN_UP", 0)
    _orphan, program = children
    found.add(program, 1)
    with pytest.raises(Blocked):
        procfs.process(program)
    assert program in families()


def test_few_groups_are_remembered(
    found: Processes, children: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten first."""
    monkeypatch.setattr(helper, "_MOST_REFUSED", 1)
    for pid in children:
        with pytest.raises(Blocked):
            never_answers(pid)
    assert procfs.process(children[0])
    with pytest.raises(Blocked):
        procfs.process(children[1])
