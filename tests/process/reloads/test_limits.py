"""Failures are recorded, and too many of them stop reloads without --force."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

BROKEN = "raise SystemExit(3)\n"
REASON = "the program exited with status 3 before it was ready"
LIMIT = ("--start-limit-burst", "2")


def failures(service: Service) -> list[str]:
    return [one["reason"] for one in service.status()["starts"]["failures"]]


def test_a_limit_is_reached_and_forced(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LIMIT)
    program.publish("2", BROKEN)
    for _ in range(2):
        assert REASON in service.reload().stderr
    assert failures(service) == [REASON, REASON]
    program.publish("3")
    outcome = service.reload()
    assert outcome.code == 1
    assert outcome.stderr == (
        f"sockact: test: not reloaded: 2 failures in the last 10 min, most recently: {REASON}; "
        "fix the cause, then run `sockact reload --force test` or `sockact reset test`\n"
    )
    assert program.ask() == "1"
    text = service.run("status", "test").stdout
    assert "2 failures in the last 10 min (reloads need --force after 2); last: " in text
    # A forced reload that fails counts, too.
    program.publish("4", BROKEN)
    assert REASON in service.reload("--force").stderr
    assert len(failures(service)) == 3
    program.publish("5")
    assert service.reload("--force").code == 0
    assert program.ask() == "5"
    # The program is fixed now; `systemctl reload` has no --force.
    assert failures(service) == []
    assert service.reload().code == 0


def test_failures_are_forgotten(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LIMIT)
    program.publish("2", BROKEN)
    for _ in range(2):
        service.reload()
    assert service.run("reset", "test").code == 0
    assert failures(service) == []
    program.publish("3")
    assert service.reload().code == 0


def test_sighup_is_no_force(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LIMIT)
    program.publish("2", BROKEN)
    for _ in range(2):
        service.reload()
    service.signal(signal.SIGHUP)
    wait.until(lambda: "SIGHUP: not reloading: 2 failures" in service.stderr, "it to be refused")


def test_crashes_count_and_are_never_given_up(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LIMIT)
    program.publish("2", BROKEN)
    os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
    wait.until(lambda: len(failures(service)) > 3, "the crash loop to go on")
    service.notify.wait_for_status("failures in the last 10 min")
    program.publish("3")
    wait.until(lambda: "running" in service.states().values(), "the mended program")
    assert program.ask() == "3"


def test_failures_that_do_not_count(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2", "time.sleep(600)")
    service.process.send_signal(signal.SIGHUP)
    wait.until(lambda: service.states() == {1: "running", 2: "pending"}, "the launch")
    assert service.run("rollback", service.name).code == 0
    assert failures(service) == []


def test_they_survive_the_supervisor(start: StartService, program: Program, folder: Path) -> None:
    environment = {**os.environ, "SOCKACT_STATE_DIR": str(folder / "kept")}
    first = start(program.command, listen=program.listen, options=LIMIT, environment=environment)
    program.publish("2", BROKEN)
    for _ in range(2):
        first.reload()
    first.stop()
    program.publish("3")
    second = start(program.command, listen=program.listen, options=LIMIT, environment=environment)
    assert failures(second) == [REASON, REASON]
    assert len(second.status()["starts"]["supervisor_starts_usec"]) == 2
    assert second.reload().code == 1
