"""The commands against a real control socket."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from sockact.core.lifecycle.stop import STOPPING
from sockact.supervisor.control import claim, interface, varlink
from tests import ROOT
from tests.process.control.bench import FAILED, HANDOVER, Bench

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


def test_a_reload_that_succeeds(app: Running) -> None:
    app.service.at_once = (HANDOVER, True)
    assert sockact_on(app, "reload", "app") == (
        0,
        "app: generation 2 is serving (ready in 0.41 s); generation 1 is draining\n",
        "",
    )
    assert app.service.reloads[0][0] is False


def test_a_reload_that_waits_for_the_drain(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "drained": True}, True)
    code, stdout, _ = sockact_on(app, "reload", "--wait-drained", SOCKACT_NAME="app")
    assert (code, stdout.partition("; ")[2]) == (0, "generation 1 has drained\n")
    assert app.service.reloads[0][0] is True


def test_a_reload_that_keeps_the_predecessor(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "kept": True}, True)
    stdout = sockact_on(app, "reload", SOCKACT_NAME="app")[1]
    assert stdout.partition("; ")[2] == "generation 1 is kept for a rollback\n"


def test_a_failed_reload_whose_predecessor_has_ended(app: Running) -> None:
    failed = {**HANDOVER, "outcome": "failed", "reason": "x; it goes on serving", "drained": True}
    app.service.at_once = (failed, False)
    stderr = sockact_on(app, "reload", SOCKACT_NAME="app")[2]
    assert stderr == "sockact: app: generation 2 failed: x; it goes on serving\n"


def test_a_reload_without_a_predecessor(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "from": None}, True)
    assert sockact_on(app, "reload")[1] == "app: generation 2 is serving (ready in 0.41 s)\n"


def test_a_reload_that_fails(app: Running) -> None:
    app.service.at_once = (FAILED, False)
    code, stdout, stderr = sockact_on(app, "reload")
    assert (code, stdout) == (1, "")
    reason = "exited with 1 before it was ready"
    assert stderr.splitlines() == [
        f"sockact: app: generation 2 failed: {reason}; generation 1 is still serving",
        "  | Traceback",
        "  | ImportError: \\x1b[31mapp",
    ]


@pytest.mark.parametrize(("handover", "code"), [(HANDOVER, 0), (FAILED, 1)])
def test_a_reload_as_json(app: Running, handover: dict[str, Any], code: int) -> None:
    app.service.at_once = (handover, code == 0)
    result = sockact_on(app, "reload", "--json")
    assert (result[0], json.loads(result[1])) == (code, handover)


def test_a_reload_that_takes_too_long(app: Running) -> None:
    code, stdout, stderr = sockact_on(app, "reload", "--timeout", "50ms")
    assert (code, stdout) == (4, "")
    reason, _, hint = stderr.partition("; ")
    assert reason == "sockact: app: no outcome within 0.05 s"
    assert hint == "the reload continues, see `sockact status app`\n"


def test_a_reload_of_what_stops(app: Running) -> None:
    app.service.refusal = varlink.Refused(interface.STOPPING)
    code, _, stderr = sockact_on(app, "reload")
    assert code == 1
    assert stderr.startswith("sockact: app is stopping; ")


def test_a_reload_that_the_stop_of_the_service_ended(app: Running) -> None:
    app.service.at_once = ({**FAILED, "reason": STOPPING, "stderr": []}, False)
    assert sockact_on(app, "reload") == (1, "", "sockact: app: the service is stopping\n")


def test_a_reload_whose_supervisor_dies(app: Running) -> None:
    process = command(app.directory.parent, "reload")
    app.wait(lambda: bool(app.service.reloads))
    app.end()
    code, _, stderr = finish(process)
    assert code == 1
    assert "closed the connection before it answered; check its log" in stderr


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


def test_stop(app: Running) -> None:
    process = command(app.directory.parent, "stop", "--now")
    app.wait(lambda: bool(app.service.stops))
    [(now, done)] = app.service.stops
    assert now
    done()
    app.end()
    assert finish(process) == (0, "app: stopped\n", "")


def test_a_stop_without_an_answer(app: Running) -> None:
    process = command(app.directory.parent, "stop", "app")
    app.wait(lambda: bool(app.service.stops))
    os.close(app.lock)
    app.lock = -1
    app.server.close()
    assert finish(process) == (0, "app: stopped\n", "")


def test_several_services_run(app: Running, folder: Path) -> None:
    other = Running(folder, "other")
    try:
        code, _, stderr = sockact_on(app, "reload")
        assert code == 2
        assert "several services are running (app, other); name one of them" in stderr
        code, _, stderr = sockact_on(app, "reload", "nix")
        assert code == 3
        assert "running services: app, other" in stderr
    finally:
        other.close()


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


def test_the_supervisor_hangs(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the client runs here, not the loop."""
    from sockact.cli.calls import service
    from sockact.cli.terminal.failures import Failure

    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.05)
    target = service.Service("app", str(app.directory))
    started = time.monotonic()
    with pytest.raises(Failure, match="did not answer within"), target.connect() as connection:
        connection.call("Status", timeout=service.ANSWER_SECONDS)
    assert time.monotonic() - started < 5


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


def test_a_service_of_another_user(app: Running) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can call as somebody else")
    from sockact.cli.calls import service
    from sockact.cli.terminal.failures import Failure

    target = service.Service("app", str(app.directory))
    os.seteuid(65534)
    try:
        with pytest.raises(Failure, match=r"belongs to user root \(mode"), target.connect():
            pass
    finally:
        os.seteuid(0)


def test_the_lock_names_who_runs(app: Running) -> None:
    with pytest.raises(claim.AlreadyRunning, match="stop it first"):
        claim.lock(str(app.directory))
