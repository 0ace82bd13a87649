"""`sockact status` against real control sockets, also of supervisors that hang."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.process.control.running import ONE, Running, app, command, finish, sockact_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["app"]  # fixtures


def test_status(app: Running) -> None:
    code, stdout, stderr = sockact_on(app, "status", "app")
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    assert lines[0] == f"app: serving (supervisor pid {os.getpid()})"
    place = lines.index("  2           running")
    facts = lines[place + 1].removeprefix(f"    pid {os.getpid()}, started 3 min 5 s ago, memory ")
    memory = re.fullmatch(r"(\d+\.\d) MiB, CPU \d+\.\d s", facts)
    assert memory
    assert float(memory[1]) > 1
    counts = "    connections: 11 active, 12 new, 13 idle; cannot stop accepting"
    assert lines[place + 2 : place + 4] == [counts, r"    no shim \x1b[0m"]
    place = lines.index("  1           running")
    assert lines[place + 1] == f"    pid {os.getpid()}, started 3 min 5 s ago"
    assert lines[place + 2] == ("    connections: not counted; no longer accepting (epoll+shim)")
    assert "  listener http: 0.0.0.0:80 (stream), 3 of 128 queued" in lines
    assert "  last handover: generation 1 to 2, succeeded after 0.41 s, " in stdout
    assert max(map(len, lines)) <= 80


def test_status_as_json(app: Running) -> None:
    code, stdout, _ = sockact_on(app, "status", "app", "--json")
    status = json.loads(stdout)
    assert code == 0
    used, unknown = status["generations"]
    assert used.pop("memory_bytes") > 1 << 20
    assert used.pop("cpu_seconds") > 0
    assert used == ONE
    assert (unknown["memory_bytes"], unknown["cpu_seconds"]) == (None, None)
    code, stdout, _ = sockact_on(app, "status", "--json")
    assert [one["name"] for one in json.loads(stdout)] == ["app"]


def watch(app: Running, *options: str) -> subprocess.Popen[str]:
    process = command(app.directory.parent, "status", "--watch", *options)
    app.wait(lambda: bool(app.service.asked))
    return process


def test_watch_until_interrupted(app: Running) -> None:
    process = watch(app, "app", "--json")
    assert process.stdout
    assert json.loads(process.stdout.readline())["generations"][0]["cpu_seconds"] > 0
    process.send_signal(signal.SIGINT)
    code, _, stderr = finish(process)
    assert (code, stderr) == (-signal.SIGINT, "")


def test_watch_until_it_stops(app: Running) -> None:
    process = watch(app)
    app.server.changed()
    app.server.flush()
    app.end()
    code, stdout, stderr = finish(process)
    assert (code, stderr) == (3, "sockact: app: stopped; nothing is left to watch\n")
    # Not a terminal: one status after the other, the later with the share of CPU.
    first, _, second = stdout.partition("\n\n")
    assert first.startswith("app: serving")
    assert second.startswith("app: serving")
    assert "\x1b" not in stdout


def test_watch_into_a_closed_pipe(app: Running) -> None:
    process = watch(app)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    app.server.changed()
    with process.stderr:
        app.meanwhile(lambda: process.wait(30))
        assert process.stderr.read() == ""
    assert process.returncode == -signal.SIGPIPE


@pytest.fixture
def stuck(folder: Path) -> Iterator[Running]:
    """A service whose loop never runs, as if its supervisor were stopped."""
    stuck = Running(folder, "stuck")
    yield stuck
    stuck.close()


@pytest.mark.usefixtures("stuck")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_status_shows_the_others_when_one_hangs(app: Running, options: tuple[str, ...]) -> None:
    started = time.monotonic()
    code, stdout, stderr = sockact_on(app, "status", *options)
    assert 5 <= time.monotonic() - started < 9
    assert code == 1
    if options:
        assert [one["name"] for one in json.loads(stdout)] == ["app"]
    else:
        assert stdout.startswith("app: serving")
    assert stderr.startswith("sockact: stuck: ")
    assert stderr.count("\n") == 1
    assert "within 5 s" in stderr


@pytest.mark.usefixtures("app", "stuck")
def test_status_waits_for_all_at_once(folder: Path) -> None:
    started = time.monotonic()
    code, stdout, stderr = finish(command(folder, "status"))
    assert 5 <= time.monotonic() - started < 9
    assert (code, stdout) == (1, "")
    lines = stderr.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["app", "stuck"]


@pytest.mark.usefixtures("stuck")
def test_watch_shows_the_others_when_one_hangs(app: Running) -> None:
    process = command(app.directory.parent, "status", "--watch")
    assert process.stdout
    assert process.stderr
    stdout, stderr = process.stdout, process.stderr
    assert app.meanwhile(stdout.readline).startswith("app: serving")
    assert "sockact: stuck: " in app.meanwhile(stderr.readline)
    process.kill()
    assert app.meanwhile(lambda: finish(process))[0] == -signal.SIGKILL


def test_status_with_no_room_for_the_output(app: Running) -> None:
    def work() -> tuple[int, str]:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "sockact", "status"],
                env={**os.environ, "SOCKACT_RUNTIME_DIR": str(app.directory.parent)},
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        return done.returncode, done.stderr

    code, stderr = app.meanwhile(work)
    assert (code, stderr) == (1, "sockact: cannot write the output: No space left on device\n")
