"""The test machines leave nothing behind, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.support import machine as machines
from tests.support import wait
from tests.support.machine import Machine

BOOT = """
import pathlib, sys
from tests.support.machine import Machine
with Machine(pathlib.Path(sys.argv[1])) as booted:
    print(booted.pid, flush=True)
    sys.stdin.read()
"""


def left(pid: int | None = None) -> list[Path]:
    """The cgroups and folders of a process's machines, our own by default."""
    mount = machines.cgroup_mount()
    assert mount
    places = (mount, Path(tempfile.gettempdir()))
    pattern = f"{machines.PREFIX}{pid or os.getpid()}-*"
    return [path for place in places for path in place.glob(pattern)]


@pytest.fixture
def root(_roots: dict[str, Path]) -> Path:
    """Any root."""
    return next(iter(_roots.values()))


def test_two_machines_side_by_side(root: Path) -> None:
    unit = "[Socket]\nListenStream=8000\n"
    with Machine(root) as one, Machine(root) as other:
        assert len(left()) == 4
        for machine in (one, other):
            machine.write("/etc/systemd/system/same.socket", unit)
            machine.write("/etc/systemd/system/same.service", "[Service]\nExecStart=true\n")
            machine.systemctl("start", "same.socket", check=True)
        one.write("/etc/only-one", "")
        assert one.path("/etc/only-one").exists()
        assert not other.path("/etc/only-one").exists()
    assert not (root / "etc/only-one").exists()
    assert not left()
    assert wait.ended(one.pid)
    assert wait.ended(other.pid)


@pytest.mark.usefixtures("root")
def test_a_machine_that_does_not_boot_says_why(folder: Path) -> None:
    with pytest.raises(AssertionError, match=r"ended with \d+ while it booted:\nmount: proc: "):
        Machine(folder)
    assert not left()


def test_a_machine_whose_test_is_killed(root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BOOT, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as maker:
        assert maker.stdout is not None
        try:
            first = int(maker.stdout.readline())
            assert len(left(maker.pid)) == 2
        finally:
            maker.send_signal(signal.SIGKILL)
    assert wait.ended(first)
    # The next machine removes what this one has left.
    with Machine(root):
        assert not left(maker.pid)
