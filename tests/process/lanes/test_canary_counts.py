"""What is counted of the processes of a canary: deaths, CPU time, memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import pidfd, procfs
from sockact.supervisor.canaries import deaths as module
from sockact.supervisor.canaries import usage as usage_module
from sockact.supervisor.canaries.deaths import Deaths
from sockact.supervisor.canaries.usage import Usage
from sockact.supervisor.processes.processes import exit_of
from tests.process.lanes.test_canary_judges import kernel_tells
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.supervisor.base.loop import Loop

NEEDS_INFO = pytest.mark.skipif(not kernel_tells(), reason="needs Linux 6.15: PIDFD_INFO_EXIT")


@pytest.fixture
def deaths(loop: Loop) -> Iterator[Deaths]:
    found = Deaths(loop)
    yield found
    found.close()


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000"])


@NEEDS_INFO
def test_workers_that_others_reap(deaths: Deaths) -> None:
    workers = [sleeper() for _ in range(3)]
    failing = subprocess.Popen(["sh", "-c", "read x; exit 3"], stdin=subprocess.PIPE)
    good = subprocess.Popen(["sh", "-c", "read x; exit 0"], stdin=subprocess.PIPE)
    every = [one.pid for one in (*workers, failing, good)]
    deaths.look({1: every[:1], 2: every[1:]})
    for one in workers:
        one.kill()
    for one in (*workers, failing, good):
        one.communicate()
    deaths.look({1: [], 2: []})
    assert (deaths.of(1), deaths.of(2)) == (1, 3)
    deaths.look({1: [], 2: []})
    assert (deaths.of(1), deaths.of(2)) == (1, 3)


@NEEDS_INFO
def test_a_worker_that_is_not_reaped_yet(deaths: Deaths) -> None:
    worker = sleeper()
    deaths.look({2: [worker.pid]})
    worker.kill()
    assert wait.ended(worker.pid)
    deaths.look({2: []})
    assert deaths.of(2) == 0
    worker.wait()
    deaths.look({2: []})
    assert deaths.of(2) == 1


def test_orphans_that_the_supervisor_reaps(
    loop: Loop, deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it was before Linux 6.15."""
    monkeypatch.setattr(pidfd, "wait_status", lambda _fd: None)
    pid = os.posix_spawnp("sleep", ["sleep", "1000"], os.environ)
    deaths.look({2: [pid]})
    os.kill(pid, signal.SIGKILL)
    _pid, status = os.waitpid(pid, 0)
    loop.child_ended(pid, exit_of(status))
    for _ in range(10):
        deaths.look({2: []})
    assert deaths.of(2) == 1


def test_a_worker_of_which_nothing_is_known_is_forgotten(
    deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pidfd, "wait_status", lambda _fd: None)
    worker = sleeper()
    before = len(os.listdir("/proc/self/fd"))
    deaths.look({2: [worker.pid]})
    worker.kill()
    worker.wait()
    for _ in range(10):
        deaths.look({2: []})
    assert deaths.of(2) == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_workers_are_not_counted(deaths: Deaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    monkeypatch.setattr(usage_module, "_MOST", 2)
    workers = [sleeper() for _ in range(3)]
    pids = [one.pid for one in workers]
    before = len(os.listdir("/proc/self/fd"))
    deaths.look({2: pids})
    assert len(os.listdir("/proc/self/fd")) == before + 2
    usage = Usage()
    usage.look(pids)
    assert (usage.cpu, usage.memory) == (0.0, None)
    for one in workers:
        one.kill()
        one.wait()


BUSY = """
import sys, time
kept = bytearray(64 << 20)
while time.process_time() < 0.5:
    pass
print("done", flush=True)
sys.stdin.read()
"""


def test_cpu_time_and_memory() -> None:
    usage = Usage()
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as busy:
        usage.look([busy.pid])
        assert busy.stdout
        assert busy.stdout.readline() == b"done\n"
        usage.look([busy.pid])
        assert 0.4 <= usage.cpu
        assert usage.memory is not None
        assert usage.memory > 64 << 20
        used = usage.cpu
        busy.communicate()
        # What it has used stays.
        usage.look([busy.pid, os.getpid()])
        assert usage.cpu >= used
    assert procfs.usage([busy.pid]) == {}
