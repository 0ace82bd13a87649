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
from tests.support.gated import KINDS
from tests.support.program import Hammer, Program, connect, read_all, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

# Requests that a stopped successor has accepted cannot be completed.
LIMITS = ("--drain-timeout", "5s", "--kill-timeout", "1s")
# Passes as long as the file is there.
PROBE = "exec:test -e {}"


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

    def __init__(self, service: Service, *, private: bool = False) -> None:
        """`private`: only probes reach the successor, and its predecessor is not paused."""
        self._service = service
        service.process.send_signal(signal.SIGHUP)
        first, gate = ("running", "open") if private else ("paused", "closed")
        wait.until(lambda: service.states() == {1: first, 2: "running"}, "the trial")
        wait.until(lambda: service.status()["generations"][0]["gate"] == gate, "its gate")

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


@pytest.mark.parametrize("lanes", ["off", "require"])
def test_tcp_probe_of_a_successor_that_accepts_no_more(
    start: StartService, program: Program, lanes: str
) -> None:
    options = (*TCP, *LIMITS, "--lanes", lanes)
    service = start(program.command, listen=program.listen, options=options)
    program.publish("2")
    reloading = Reloading(service, private=lanes == "require")
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
