"""How a pause by the operator ends, and what happens meanwhile: upgrades, kills, stops, crashes."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.core.lifecycle.pause import EXPIRED
from tests.process.upgrade.restarts import Restarts, restarts
from tests.support import varlink, wait
from tests.support.exporter import Exporter
from tests.support.gated import KINDS
from tests.support.installed import Installed, upgrade
from tests.support.paused import (
    ACCEPT,
    CLIENTS,
    PATIENCE,
    begin,
    pause,
    resume,
    wait_for_clients,
    wait_until_served,
)
from tests.support.program import Hammer, Program, connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

__all__ = ["restarts"]  # fixtures

PLAIN = [sys.executable, "-I"]


def write(program: Program, version: str = "1") -> list[str]:
    """A program that nothing can tell to stop accepting; its command."""
    program.write(f"PORT = {program.port}\nVERSION = {version.encode()!r}\n{ACCEPT}")
    return [*PLAIN, str(program.path)]


def test_it_ends_by_itself(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    begin(service, "--max", "1s")
    service.notify.wait_for_status("paused by the operator until ")
    assert program.ask() == "1", "it has waited"
    service.notify.wait_for_status("serving; generation 1 running")
    found = pause(service)
    assert (found["active"], found["reason"]) == (False, EXPIRED)
    assert "last pause: ended" in service.run("status", service.name).stdout
    assert "pause by the operator, ended after 1." in service.run("history", service.name).stdout
    said = [line for line in service.stderr.splitlines() if "pause" in line]
    assert said == [
        "sockact: test: generation 1: paused by the operator for up to 1 s",
        f"sockact: test: generation 1: pause ended, accepting connections again: {EXPIRED}",
    ]


@pytest.mark.parametrize("most", ["0", "-1s", "10min 1s", "soon"])
def test_times_that_are_no_longest_time(start: StartService, program: Program, most: str) -> None:
    service = start(program.command, listen=program.listen)
    outcome = service.run("pause", "--max", most, service.name)
    assert (outcome.code, len(outcome.stderr.splitlines())) == (2, 1)
    assert service.status()["pause"] is None


@pytest.mark.parametrize("most", [0, -1, 600.5, 1e300, 10**400, True, "30", [30]], ids=repr)
def test_calls_with_no_longest_time(start: StartService, program: Program, most: object) -> None:
    service = start(program.command, listen=program.listen)
    with pytest.raises(varlink.VarlinkError) as caught:
        varlink.call(service.control, "Pause", {"max": most})
    assert caught.value.name == "org.varlink.service.InvalidParameter"
    assert caught.value.parameters == {"parameter": "max"}
    assert service.status()["pause"] is None


def test_there_is_nothing_to_resume(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    outcome = service.run("resume", service.name)
    assert (outcome.code, outcome.stderr) == (1, "sockact: test: not paused; nothing to resume\n")


def test_no_reload_meanwhile(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    begin(service)
    program.publish("2")
    for words in (("reload",), ("rollback",)):
        outcome = service.run(*words, service.name)
        assert (outcome.code, outcome.stderr) == (
            *(1, "sockact: test is paused by the operator; run `sockact resume` first\n"),
        )
    # Nobody would hear of a refusal.
    service.signal(signal.SIGHUP)
    assert list(service.states()) == [1]
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        resume(service)
        assert read_all(client) in ("1", "2")
    wait.until(lambda: service.states().get(2) == "running", "the reload")


@KINDS
def test_an_upgrade_keeps_it(
    start: StartService, program: Program, folder: Path, body: str
) -> None:
    installed = Installed(folder / "installed")
    installed.publish("1.0")
    program.publish("1", body)
    service = start(program.command, listen=program.listen, launcher=installed.launcher)
    with Hammer(program.port, CLIENTS, timeout=PATIENCE) as hammer:
        wait_until_served(hammer, CLIENTS)
        begin(service)
        wait_for_clients(service)
        before = hammer.answers.total()
        installed.publish("1.1")
        upgrade(service)
        found = pause(service)
        assert (found["active"], found["complete"]) == (True, True)
        assert hammer.answers.total() == before
        resume(service)
        wait_until_served(hammer, before + CLIENTS)
    assert hammer.failures == []


def test_an_upgrade_keeps_connections_from_beginning(
    start: StartService, program: Program, folder: Path
) -> None:
    installed = Installed(folder / "installed")
    installed.publish("1.0")
    service = start(write(program), listen=program.listen, launcher=installed.launcher)
    begin(service)
    installed.publish("1.1")
    upgrade(service)
    with Hammer(program.port, CLIENTS, timeout=PATIENCE) as hammer:
        wait_for_clients(service)
        assert hammer.answers.total() == 0
        resume(service)
        wait_until_served(hammer, CLIENTS)
    assert hammer.failures == []


@pytest.mark.parametrize("plain", [False, True], ids=["shim", "held"])
def test_a_killed_supervisor(restarts: Restarts, program: Program, plain: bool) -> None:
    """The next one launches the program anew: nobody stays deaf."""
    if plain:
        program.command[:] = write(program)
    service = restarts.first(program)
    begin(service)
    restarts.kill(service)
    with Hammer(program.port, CLIENTS, timeout=PATIENCE) as hammer:
        again = restarts.again(service, program, *program.listen)
        assert again.status()["pause"] is None
        wait_until_served(hammer, 2 * CLIENTS)
    assert hammer.failures == []


@pytest.mark.parametrize("plain", [False, True], ids=["shim", "held"])
def test_a_stop_ends_it(start: StartService, program: Program, plain: bool) -> None:
    service = start(write(program) if plain else program.command, listen=program.listen)
    begin(service)
    assert service.stop() == 0


def test_after_a_crash_the_program_starts_when_it_ends(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen)
    pid = service.status()["generations"][0]["pid"]
    begin(service)
    program.publish("2")
    os.kill(pid, signal.SIGKILL)
    wait.until(lambda: not service.states(), "it to end")
    assert service.status()["state"] == "backoff"
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        resume(service)
        assert read_all(client) == "2"


def test_the_watchdog_takes_nobody_for_stuck(start: StartService, program: Program) -> None:
    service = start(
        program.command,
        listen=program.listen,
        environment={**os.environ, "WATCHDOG_USEC": "200000"},
    )
    begin(service)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        for _ in range(5):
            service.notify.wait_for("WATCHDOG", "1")
        resume(service)
        assert read_all(client) == "1"
    service.notify.wait_for("WATCHDOG", "1")
    assert list(service.states()) == [1]


def test_the_exporter_shows_it(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    with Exporter(service.runtime) as exporter:
        assert 'sockact_paused{service="test"} 0.0' in exporter.get("/metrics")
        begin(service)
        # An answer is kept for a moment.
        wait.until(
            lambda: 'sockact_paused{service="test"} 1.0' in exporter.get("/metrics"), "the pause"
        )
