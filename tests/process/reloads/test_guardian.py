"""A program that has changed its user ends with its supervisor, as any other does."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import Program

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.service import Service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")

DROPS = """
found = bound()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
accept(found)
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def guardians(service: Service) -> list[int]:
    found = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text()
    names = {int(pid): Path(f"/proc/{pid}/comm").read_text() for pid in found.split()}
    return [pid for pid, name in names.items() if name == "sockact-guard\n"]


def kill(service: Service) -> None:
    """Kill the supervisor; return when its program and its guardians have ended."""
    pids = [pid for one in service.status()["generations"] for pid in one["pids"]]
    pids += guardians(service)
    service.process.kill()
    service.process.wait()
    assert all(map(wait.ended, pids))
    service.remove_sockets()


@pytest.mark.parametrize("drops", [DROPS, DROPS.replace("os.setuid(65534)", "")])
def test_it_ends_with_a_killed_supervisor(
    start: StartService, program: Program, drops: str
) -> None:
    program.publish("1", drops)
    service = start(program.command, listen=program.listen)
    wait.until(lambda: len(guardians(service)) == 1, "the guardian")
    kill(service)


def test_it_ends_after_an_upgrade(start: StartService, program: Program) -> None:
    program.publish("1", DROPS)
    service = start(program.command, listen=program.listen)
    wait.until(lambda: guardians(service) or None, "the guardian")
    assert service.run("upgrade", service.name).code == 0
    assert len(guardians(service)) == 1
    assert program.ask() == "1"
    kill(service)


def test_a_guardian_ends_with_its_generation(start: StartService, program: Program) -> None:
    program.publish("1", DROPS)
    service = start(program.command, listen=program.listen)
    (first,) = wait.until(lambda: guardians(service) or None, "the guardian")
    os.kill(first, signal.SIGTERM)
    assert service.reload("--wait-drained").code == 0
    assert wait.ended(first)
    wait.until(lambda: len(guardians(service)) == 1, "the guardian of the successor")


@pytest.mark.parametrize(
    ("body", "launcher"),
    [
        ("accept(bound())", ()),
        (DROPS, ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh")),
    ],
    ids=["same-user", "systemd"],
)
def test_no_guardian_where_none_is_needed(
    start: StartService, program: Program, body: str, launcher: tuple[str, ...]
) -> None:
    """The kernel ends a program that has kept its user; systemd ends each one."""
    program.publish("1", f"{body}\n")
    service = start(program.command, listen=program.listen, launcher=launcher)
    assert program.ask() == "1"
    # The answer comes after the step that made it ready.
    assert service.states() == {1: "running"}
    assert guardians(service) == []
