"""A program that has changed its user ends with its supervisor, as any other does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import wait

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")

# A supervisor that has only the descriptors left that it needs for a guardian, and is killed.
CROWDED = """
import os, resource, signal, sys
from sockact.supervisor.processes import guardian
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for fd in taken[-3:]:
    os.close(fd)
guardian.start(int(sys.argv[1]), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGKILL)
"""

DROPS = """
found = bound()
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
accept(found)
"""


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


def test_a_guardian_of_a_supervisor_without_descriptors() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as program:
        try:
            subprocess.run([sys.executable, "-c", CROWDED, str(program.pid)], check=False)
            assert program.wait(wait.TIMEOUT) == -signal.SIGTERM
        finally:
            program.kill()


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
