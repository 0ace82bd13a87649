"""The history of handovers: shown, counted, and kept across restarts and upgrades."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import varlink, wait
from tests.support.installed import Installed, upgrade
from tests.support.program import Program, connect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

BROKEN = "raise SystemExit(3)\n"


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def history(service: Service) -> dict[str, Any]:
    return varlink.call(service.control, "History")


def wait_closed(service: Service) -> list[dict[str, Any]]:
    """The handovers, once nothing of any is under way."""

    def closed() -> bool:
        return not any(one["phase"] for one in history(service)["handovers"])

    wait.until(closed, "the last phase to end")
    found: list[dict[str, Any]] = history(service)["handovers"]
    return found


def test_it_is_shown(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    assert service.run("history").stdout == "test: no handover yet\n"
    assert service.reload().code == 0
    program.publish("2", BROKEN)
    service.signal(signal.SIGHUP)
    wait.until(lambda: len(history(service)["handovers"]) == 2, "the second")
    good, bad = wait_closed(service)
    assert [one["name"] for one in good["phases"]] == ["start", "drain", "stop"]
    assert (good["cause"], bad["cause"]) == ("command", "SIGHUP")
    lines = service.run("history", "test").stdout.splitlines()
    assert "  reload 1 to 2 (command), succeeded after " in lines[0]
    assert lines[1].startswith(f"  {good['id']}  start ")
    assert lines[2].endswith("the program exited with status 3 before it was ready")
    found = service.run("history", "--json").json()
    assert found["handovers"] == [good, bad]
    assert found["totals"]["failures"] == 1


def test_connections_closed_at_the_drain_timeout(start: StartService, program: Program) -> None:
    options = ("--drain-timeout", "200ms")
    service = start(program.command, listen=program.listen, options=options)
    clients = [connect(("127.0.0.1", program.port)) for _ in range(2)]
    try:
        for client in clients:
            client.sendall(b"slow 600")
        wait.until(
            lambda: service.status()["generations"][0]["connections"]["busy"] == 2, "both requests"
        )
        outcome = service.reload("--wait-drained")
    finally:
        for client in clients:
            client.close()
    assert outcome.code == 0
    what = r"; generation 1 has ended; 2 connections were cut off after 0\.[2-9]\d* s\n"
    assert re.search(what, outcome.stdout), outcome
    expired = (
        "generation 1: the drain timeout of 0.2 s expired (2 connections in use), sending SIGTERM"
    )
    assert expired in service.stderr
    (entry,) = wait_closed(service)
    assert entry["forced_closes"] == 2
    assert history(service)["totals"]["forced_closes"] == 2
    assert "2 connections cut off" in service.run("history").stdout


def test_it_survives_the_supervisor(start: StartService, program: Program, folder: Path) -> None:
    environment = {**os.environ, "SOCKACT_STATE_DIR": str(folder / "kept")}
    first = start(program.command, listen=program.listen, environment=environment)
    assert first.reload().code == 0
    (before,) = wait_closed(first)
    first.stop()
    second = start(program.command, listen=program.listen, environment=environment)
    assert history(second)["handovers"] == [before]
    assert second.reload().code == 0
    after = wait_closed(second)
    assert len({one["id"] for one in after}) == 2
    totals = history(second)["totals"]
    assert totals["supervisor_starts"] == 2
    assert sum(totals["drains"]["counts"]) == 2


def test_an_upgrade_carries_it(start: StartService, program: Program, folder: Path) -> None:
    installed = Installed(folder / "installed")
    installed.publish("1.0")
    service = start(program.command, listen=program.listen, launcher=installed.launcher)
    assert service.reload().code == 0
    before = wait_closed(service)
    installed.publish("2.0")
    upgrade(service)
    assert history(service)["handovers"] == before
    assert history(service)["totals"]["supervisor_starts"] == 1
