"""A service with a real control socket and a lock, and commands that call it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from sockact.supervisor.control import claim
from tests import ROOT
from tests.process.control.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONE: dict[str, Any] = {
    "number": 2,
    "state": "running",
    "pid": os.getpid(),
    "pids": [os.getpid()],
    "started_usec": 1_700_000_000_000_000,
    "age_seconds": 185.2,
    "gate": "none",
    "gate_by": "none",
    "gate_reason": "no shim \x1b[0m",
    "connections": {"busy": 11, "fresh": 12, "quiet": 13},
    "on_trial": False,
    "seconds_left": None,
    "warming": None,
    "moving": None,
    "version": "",
    "unlisted": [],
}
OLD: dict[str, Any] = {
    "number": 1,
    "pids": [],
    "gate": "closed",
    "gate_by": "epoll+shim",
    "gate_reason": "",
    "connections": None,
}


class Running(Bench):
    """A service with a lock, as a command finds it."""

    def __init__(self, base: Path, name: str) -> None:
        claim.create(str(base / name))
        self.lock = claim.lock(str(base / name))
        super().__init__(base / name)
        self.service.generations = [ONE, {**ONE, **OLD}]

    def end(self) -> None:
        """End it, as if the supervisor had exited."""
        self.server.close()
        os.close(self.lock)
        self.lock = -1

    def close(self) -> None:
        super().close()
        if self.lock >= 0:
            os.close(self.lock)


@pytest.fixture
def app(folder: Path) -> Iterator[Running]:
    app = Running(folder, "app")
    yield app
    app.close()


def command(base: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "SOCKACT_RUNTIME_DIR": str(base), **environ}
    return subprocess.Popen(
        [sys.executable, "-m", "sockact", *arguments],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


def sockact_on(app: Running, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run a command while the service answers."""
    base = app.directory.parent
    return app.meanwhile(lambda: finish(command(base, *arguments, **environ)))
