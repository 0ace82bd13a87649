"""Moves that end early: by a rollback, a refusal, or because a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import procfs
from tests.process.moving.conftest import UVICORN, process
from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.process.moving.conftest import Scene

# Traces a process until its standard input is closed.
TRACES = """
import sys
from sockact.kernel.tracing.tracer import Tracer
Tracer().seize(int(sys.argv[1]))
print("traced", flush=True)
sys.stdin.read()
"""


def test_a_rollback_gives_all_back(scene: Scene) -> None:
    scene.run()
    client, before = scene.visitor()
    scene.reload()
    assert scene.service.run("rollback", scene.service.name).code == 0
    assert process(client) == before
    assert scene.moving()["parked"] == 0


def test_what_cannot_be_delivered_is_answered_by_the_predecessor(scene: Scene) -> None:
    scene.run((UVICORN[0], "-I", *UVICORN[1:], "--app-dir=."))  # Without the shim.
    client, before = scene.visitor()
    scene.reload()
    successor = scene.service.status()["generations"][-1]["pid"]
    tracing = [sys.executable, "-c", TRACES, str(successor)]
    with subprocess.Popen(tracing, stdin=-1, stdout=-1) as tracer:
        assert tracer.stdin is not None
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == b"traced\n"
        assert process(client) == before
        assert f"is traced by process {tracer.pid}" in scene.moving()["reason"]
        assert scene.moving()["parked"] == 0
        tracer.stdin.close()
    assert scene.service.stderr.count("connections cannot be moved here") == 1


def test_the_predecessor_is_killed(scene: Scene) -> None:
    scene.run()
    client, before = scene.visitor()
    scene.reload()
    after = process(client)
    assert after != before
    os.kill(before, signal.SIGKILL)
    scene.service.wait_drained()
    assert process(client) == after


def test_the_successor_is_killed(scene: Scene) -> None:
    scene.run()
    client, _before = scene.visitor()
    scene.reload()
    after = scene.service.status()["generations"][-1]["pid"]
    os.kill(after, signal.SIGKILL)
    assert process(client) != after


def test_the_process_that_parks_is_killed(scene: Scene) -> None:
    scene.run()
    client, before = scene.visitor()
    scene.reload()
    for pid in procfs.children(scene.service.process.pid):
        if procfs.read(f"/proc/{pid}/comm") == b"sockact-look\n":
            os.kill(pid, signal.SIGKILL)
    # It was restored, and may be parked again by now.
    assert process(client) in (before, scene.service.status()["generations"][-1]["pid"])


def test_the_supervisor_is_killed(scene: Scene) -> None:
    """The program gets its stop signal then; uvicorn would end what is quiet."""
    scene.run(options=("--stop-signal", "SIGWINCH"))
    client, before = scene.visitor()
    scene.reload()
    pids = scene.service.status()["generations"]
    scene.service.process.kill()
    assert process(client) == before
    for one in pids:
        os.kill(one["pid"], signal.SIGKILL)
    scene.service.process.wait()
    scene.service.remove_sockets()


@pytest.mark.parametrize("adopt", ["shim", "native"])
def test_nothing_moves_without_the_filter(adopt: str, start: StartService, folder: Path) -> None:
    options = ("--move-connections", "on", "--adopt", adopt)
    service = start(
        ["true"], listen=(f"127.0.0.1:{wait.free_port()}",), options=options, ready=False
    )
    assert service.process.wait(wait.TIMEOUT) == 2
    assert service.stderr == (
        "sockact: test: --move-connections on: it needs --adopt seccomp, and this service uses "
        f"{adopt}\n"
    )
