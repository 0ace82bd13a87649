"""A bad release is rolled back: by its trial, by hand, after a crash."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import wait
from tests.support.program import Hammer, Program, connect, read_all, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

# Gated by the shim, and from outside.
BLOCKING = "accept(bound())\n"
ASYNCIO = """
import asyncio
async def answer(reader, writer):
    await reader.read(100)
    writer.write(VERSION)
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    await server.serve_forever()
asyncio.run(main())
"""
KINDS = pytest.mark.parametrize("body", [BLOCKING, ASYNCIO], ids=["shim", "epoll"])
# Requests that a stopped successor has accepted cannot be completed.
LIMITS = ("--drain-timeout", "5s", "--kill-timeout", "1s")
# Passes as long as the file is there.
PROBE = "exec:test -e {}"


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


@pytest.fixture
def healthy(folder: Path) -> Path:
    """The file that the probe looks for."""
    path = folder / "healthy"
    path.touch()
    return path


def options(healthy: Path, trial: str = "60s", *more: str) -> tuple[str, ...]:
    probe = PROBE.format(shlex.quote(str(healthy)))
    return ("--trial", trial, "--probe", probe, "--probe-interval", "50ms", *more)


class Reloading:
    """A reload in the background whose trial has begun."""

    def __init__(self, service: Service) -> None:
        self._service = service
        service.process.send_signal(signal.SIGHUP)
        wait.until(lambda: service.states() == {1: "paused", 2: "running"}, "the trial")
        wait.until(lambda: service.status()["generations"][0]["gate"] == "closed", "its gate")

    def outcome(self) -> tuple[str, str]:
        """Its outcome and reason, once it has one."""

        def ended() -> tuple[str, str] | None:
            handover = self._service.status()["handover"]
            return handover["outcome"] != "pending" and (handover["outcome"], handover["reason"])

        return wait.until(ended, "the outcome")


@KINDS
def test_a_trial_that_passes_is_committed(
    start: StartService, program: Program, healthy: Path, body: str
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=options(healthy, "1s"))
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        program.publish("2", body)
        outcome = service.reload()
        hammer.wait_for("2")
    assert (outcome.code, hammer.failures) == (0, [])
    service.wait_drained()
    assert service.states() == {2: "running"}


@KINDS
def test_while_on_trial_the_successor_serves_alone(
    start: StartService, program: Program, healthy: Path, body: str
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=options(healthy))
    program.publish("2", body)
    Reloading(service)
    assert {program.ask() for _ in range(20)} == {"2"}
    paused, trial = service.status()["generations"]
    assert (paused["on_trial"], trial["on_trial"]) == (False, True)
    assert 0 < trial["seconds_left"] <= 60
    assert "on trial" in service.run("status", service.name).stdout


@KINDS
def test_a_probe_that_fails_brings_the_predecessor_back(
    start: StartService, program: Program, healthy: Path, body: str
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=options(healthy))
    with Hammer(program.port) as hammer:
        program.publish("2", body)
        reloading = Reloading(service)
        hammer.wait_for("2")
        healthy.unlink()
        assert reloading.outcome() == ("failed", "the probe failed: exited with status 1")
        hammer.wait_for("1")
        service.wait_drained()
    assert hammer.failures == []
    assert service.states() == {1: "running"}
    assert {program.ask() for _ in range(20)} == {"1"}


def test_the_caller_hears_why(start: StartService, program: Program, healthy: Path) -> None:
    service = start(program.command, listen=program.listen, options=options(healthy))
    healthy.unlink()
    program.publish("2")
    outcome = service.reload()
    assert outcome.code == 1
    assert outcome.stderr == (
        "sockact: test: generation 2 failed: the probe failed: exited with status 1; "
        "generation 1 is still serving\n"
    )


def test_one_failure_below_the_threshold_is_forgiven(
    start: StartService, program: Program, healthy: Path, folder: Path
) -> None:
    log = folder / "log"
    command = f"exec:echo >> {log}; test $(wc -l < {log}) != 2"
    more = ("--trial", "1s", "--probe", command, "--probe-interval", "20ms")
    service = start(
        program.command, listen=program.listen, options=(*more, "--probe-threshold", "2")
    )
    program.publish("2")
    assert service.reload().code == 0
    assert log.read_text().count("\n") > 2


def test_a_probe_that_hangs_has_failed(
    start: StartService, program: Program, healthy: Path, folder: Path
) -> None:
    pid = folder / "pid"
    command = f"exec:echo $$ > {pid}; sleep 600"
    more = ("--trial", "60s", "--probe", command, "--probe-timeout", "200ms")
    service = start(program.command, listen=program.listen, options=more)
    program.publish("2")
    outcome = service.reload()
    assert "the probe failed: took more than 0.2 s" in outcome.stderr
    wait.until(lambda: not running([int(pid.read_text())]), "the probe to be gone")


def test_a_probe_that_left_its_process_group_is_killed(
    start: StartService, program: Program, folder: Path
) -> None:
    pid = folder / "pid"
    script = folder / "leaves.py"
    script.write_text(
        "import os, time\nos.setpgid(0, os.getpgid(os.getppid()))\n"
        f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    command = f"exec:exec {sys.executable} -I -S {script}"
    more = ("--trial", "60s", "--probe", command, "--probe-timeout", "500ms")
    service = start(program.command, listen=program.listen, options=more)
    program.publish("2")
    assert "the probe failed: took more than 0.5 s" in service.reload().stderr
    wait.until(lambda: not running([int(pid.read_text())]), "the probe to be gone")
    assert program.ask() == "1"


def test_a_trial_without_a_passed_probe_is_not_committed(
    start: StartService, program: Program
) -> None:
    more = ("--trial", "200ms", "--probe", "exec:sleep 600", "--probe-timeout", "60s")
    service = start(program.command, listen=program.listen, options=more)
    program.publish("2")
    assert "the probe did not pass within the trial of 0.2 s" in service.reload().stderr
    assert program.ask() == "1"


@KINDS
def test_death_on_trial_brings_the_predecessor_back(
    start: StartService, program: Program, body: str
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=("--trial", "60s"))
    program.publish("2", body)
    reloading = Reloading(service)
    os.kill(service.status()["generations"][1]["pid"], signal.SIGKILL)
    assert reloading.outcome() == ("failed", "the program was killed by signal 9")
    assert program.ask() == "1"
    assert service.states() == {1: "running"}


@pytest.mark.parametrize("probe", [(), ("--probe", "exec:true", "--probe-interval", "1h")])
def test_a_stuck_accept_queue_brings_the_predecessor_back(
    start: StartService, program: Program, probe: tuple[str, ...]
) -> None:
    """The outcome of the probe, which is rare here, does not matter."""
    options = ("--trial", "60s", *probe, *LIMITS)
    service = start(program.command, listen=program.listen, options=options)
    program.publish("2")
    reloading = Reloading(service)
    pid = service.status()["generations"][1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait.until(lambda: stopped(pid), "the successor to stop")
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        outcome, reason = reloading.outcome()
        assert (outcome, read_all(client)) == ("failed", "1")
    assert re.fullmatch(r"not accepting connections for [0-9]+ s", reason)


def stopped(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


TCP = ("--trial", "20s", "--probe", "tcp", "--probe-timeout", "2s", "--probe-interval", "50ms")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]"])
def test_tcp_probe(start: StartService, program: Program, host: str) -> None:
    """A connect is not enough: the successor has to accept."""
    family = "socket.AF_INET6" if "[" in host else "socket.AF_INET"
    body = f"accept(bound(({host.strip('[]')!r}, PORT), {family}))\n"
    program.publish("1", body)
    # Long enough for a probe to be started, and to end, also on a busy machine.
    options = ("--trial", "2s", "--probe", "tcp", "--probe-interval", "100ms")
    service = start(program.command, listen=(f"{host}:{program.port}",), options=options)
    assert service.reload().code == 0


def test_tcp_probe_of_a_successor_that_accepts_no_more(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen, options=(*TCP, *LIMITS))
    program.publish("2")
    reloading = Reloading(service)
    pid = service.status()["generations"][1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait.until(lambda: stopped(pid), "the successor to stop")
    where = program.listen[0]
    reason = f"the probe failed: {where} did not accept a connection"
    assert reloading.outcome() == ("failed", reason)
    assert program.ask() == "1"


def test_tcp_probe_needs_a_tcp_listener(start: StartService, folder: Path) -> None:
    service = start(["true"], listen=(str(folder / "x.sock"),), options=TCP, ready=False)
    assert service.process.wait(10) == 2
    assert "--probe tcp: there is no TCP listener; use exec:COMMAND" in service.stderr


def test_the_predecessor_dies_during_the_trial(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=("--trial", "500ms"))
    program.publish("2")
    reloading = Reloading(service)
    os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
    assert reloading.outcome() == ("committed", "")
    assert program.ask() == "2"


def test_a_bad_successor_without_predecessor_goes_on(
    start: StartService, program: Program, healthy: Path
) -> None:
    service = start(program.command, listen=program.listen, options=options(healthy))
    program.publish("2")
    reloading = Reloading(service)
    os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
    wait.until(lambda: 1 not in service.states(), "the predecessor to be gone")
    refused = service.run("rollback", service.name)
    assert (refused.code, "has already ended" in refused.stderr) == (1, True)
    healthy.unlink()
    outcome, reason = reloading.outcome()
    assert outcome == "failed"
    assert reason.endswith("; still serving, because the previous generation has ended")
    assert program.ask() == "2"


@KINDS
def test_rollback_of_a_kept_predecessor(start: StartService, program: Program, body: str) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=("--keep-predecessor", "10m"))
    with Hammer(program.port) as hammer:
        program.publish("2", body)
        assert service.reload().code == 0
        hammer.wait_for("2")
        assert service.states() == {1: "paused", 2: "running"}
        outcome = service.run("rollback", service.name)
        assert outcome.stdout == "test: switched back to generation 1; generation 2 is draining\n"
        hammer.wait_for("1")
        service.wait_drained()
    assert (outcome.code, hammer.failures) == (0, [])
    assert service.states() == {1: "running"}
    assert service.run("rollback", service.name).stderr.startswith(
        "sockact: test: the previous generation has already ended; "
    )


def test_rollback_to_a_program_that_does_not_answer(start: StartService, program: Program) -> None:
    more = ("--keep-predecessor", "10m", *LIMITS)
    service = start(program.command, listen=program.listen, options=more)
    program.publish("2")
    assert service.reload().code == 0
    wait.until(lambda: service.status()["generations"][0]["gate"] == "closed", "its gate")
    pid = service.status()["generations"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait.until(lambda: stopped(pid), "the predecessor to stop")
    with Hammer(program.port) as hammer:
        outcome = service.run("rollback", service.name)
        assert outcome.code == 1
        assert outcome.stderr.endswith("within 3 s; generation 2 is still serving\n")
        service.wait_drained()
    assert hammer.failures == []
    assert set(hammer.answers) == {"2"}
    assert service.states() == {2: "running"}


def test_a_kept_predecessor_is_drained_in_the_end(start: StartService, program: Program) -> None:
    more = ("--keep-predecessor", "200ms")
    service = start(program.command, listen=program.listen, options=more)
    program.publish("2")
    assert service.reload().code == 0
    wait.until(lambda: service.states() == {2: "running"}, "the predecessor to drain")


def test_the_next_commit_drains_a_kept_predecessor(start: StartService, program: Program) -> None:
    more = ("--keep-predecessor", "10m")
    service = start(program.command, listen=program.listen, options=more)
    for version in ("2", "3"):
        program.publish(version)
        assert service.reload().code == 0
    wait.until(lambda: service.states() == {2: "paused", 3: "running"}, "the first to drain")


def test_a_crash_goes_back_to_the_kept_predecessor(start: StartService, program: Program) -> None:
    more = ("--keep-predecessor", "10m")
    service = start(program.command, listen=program.listen, options=more)
    program.publish("2")
    assert service.reload().code == 0
    os.kill(service.status()["generations"][1]["pid"], signal.SIGKILL)
    wait.until(lambda: service.states() == {1: "running"}, "the predecessor to serve")
    assert program.ask() == "1"
    assert "generation 1: serving again" in service.stderr


def test_rollback_of_a_draining_predecessor(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as client:
        # Its request is on its way: the drain waits for it.
        wait.until(lambda: fresh(service) == 1, "the connection to be accepted")
        program.publish("2")
        assert service.reload().code == 0
        assert service.states() == {1: "draining", 2: "running"}
        assert service.run("rollback", service.name).code == 0
        assert program.ask() == "1"
        client.sendall(b"fast")
        assert read_all(client) == "1"
    service.wait_drained()
    assert service.states() == {1: "running"}


def fresh(service: Service) -> int:
    return int(service.status()["generations"][0]["connections"]["fresh"])


def test_rollback_cancels_a_trial(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=("--trial", "60s"))
    program.publish("2")
    reloading = Reloading(service)
    outcome = service.run("rollback", service.name)
    assert outcome.stdout == "test: abandoned generation 2; generation 1 is serving\n"
    assert reloading.outcome() == ("failed", "rolled back by hand")
    assert program.ask() == "1"


def test_rollback_cancels_a_launch(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2", "time.sleep(600)")
    service.process.send_signal(signal.SIGHUP)
    wait.until(lambda: service.states() == {1: "running", 2: "pending"}, "the launch")
    assert service.run("rollback", service.name).code == 0
    assert service.status()["handover"]["reason"] == "rolled back by hand"
    assert program.ask() == "1"


def test_rollback_ends_a_crash_loop(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as client:
        wait.until(lambda: fresh(service) == 1, "the connection to be accepted")
        program.publish("2")
        assert service.reload().code == 0
        program.publish("3", "sys.exit(3)")
        os.kill(service.status()["generations"][1]["pid"], signal.SIGKILL)
        wait.until(lambda: "exited with status 3" in service.stderr, "the crash loop")
        assert service.run("rollback", service.name).code == 0
        assert program.ask() == "1"
        client.sendall(b"fast")
        assert read_all(client) == "1"
    wait.until(lambda: service.states() == {1: "running"}, "the others to be gone")


def test_the_oldest_of_too_many_draining_generations_ends(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen, options=("--max-draining", "1"))
    with connect(("127.0.0.1", program.port)):
        wait.until(lambda: fresh(service) == 1, "the connection to be accepted")
        program.publish("2")
        assert service.reload().code == 0
        with connect(("127.0.0.1", program.port)):
            wait.until(
                lambda: service.status()["generations"][1]["connections"]["fresh"] == 1,
                "the next connection to be accepted",
            )
            assert service.states() == {1: "draining", 2: "running"}
            program.publish("3")
            assert service.reload().code == 0
            wait.until(
                lambda: service.states() == {2: "draining", 3: "running"}, "the oldest to end"
            )
    why = "more than 1 generations are draining (1 connection in use)"
    assert f"generation 1: {why}, sending SIGTERM" in service.stderr


def test_another_stop_signal(start: StartService, program: Program, folder: Path) -> None:
    """For a program whose SIGTERM means something else, also when the supervisor dies."""
    got = folder / "got"
    program.publish(
        "1",
        f"def note(number, frame):\n    open({str(got)!r}, 'a').write(f'{{number}} ')\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, note)\nsignal.signal(signal.SIGQUIT, note)\n"
        "accept(bound())\n",
    )
    service = start(program.command, listen=program.listen, options=("--stop-signal", "QUIT"))
    assert service.reload().code == 0
    service.wait_drained()
    assert got.read_text() == "3 "
    service.signal(signal.SIGKILL)
    service.process.wait()
    wait.until(lambda: got.read_text() == "3 3 ", "the program to end with its supervisor")
    service.control.unlink()
