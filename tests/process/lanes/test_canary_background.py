"""A canary in the background: the reload returns at its first share, and is over for systemd."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.process.lanes.test_canary import LANES, canary
from tests.support import varlink, wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

BACKGROUND = ("--canary", "30% 1h", "--canary-background")
SAID = "test: canary: gets 30 % of the new clients; see `sockact status test`\n"


def begin(service: Service, *options: str) -> None:
    outcome = service.reload(*options)
    assert (outcome.code, outcome.stdout) == (0, SAID), outcome.stderr


def pid_of(service: Service, number: int) -> int:
    pid: int = next(g["pid"] for g in service.status()["generations"] if g["number"] == number)
    return pid


def test_the_reload_returns_and_the_canary_goes_on(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, *BACKGROUND)
    assert {program.ask() for _ in range(100)} == {"1", "2"}
    shown = service.run("status", service.name).stdout
    assert "  2           canary: 30 % of new clients, step 1 of 1, up to " in shown
    assert service.run("promote", service.name).code == 0
    service.wait_drained()
    assert {program.ask() for _ in range(20)} == {"2"}
    (record,) = varlink.call(service.control, "History")["handovers"]
    assert [one["name"] for one in record["phases"]][:3] == ["start", "canary", "drain"]
    assert "1 to 2 (command), succeeded after " in service.run("history").stdout


def test_as_configured(start: StartService, program: Program) -> None:
    """The settings apply to the unit's ExecReload=; `--wait-drained` waits all the same."""
    service = start(program.command, listen=program.listen, options=(*LANES, *BACKGROUND))
    program.publish("2")
    begin(service)
    assert service.run("rollback", service.name).code == 0
    service.wait_drained()
    outcome = service.reload("--wait-drained", "--timeout", "10ms")
    assert outcome.code == 4, outcome


def test_without_a_canary_it_changes_nothing(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    outcome = service.reload("--canary-background")
    assert outcome.stdout.startswith("test: generation 2 is serving")


def test_a_canary_that_fails_is_told(start: StartService, program: Program) -> None:
    """In the journal, in the history, and in the status."""
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, *BACKGROUND)
    os.kill(pid_of(service, 2), signal.SIGKILL)
    wait.until(lambda: canary(service) is None, "the end of the canary")
    service.wait_drained()
    (told,) = [line for line in service.stderr.splitlines() if "reload failed" in line]
    reason = told.partition("reload failed: ")[2]
    assert "signal 9" in reason
    shown = " ".join(service.run("status", service.name).stdout.split())
    assert "last handover: generation 1 to 2, failed after " in shown
    assert reason in shown
    assert reason in service.run("history").stdout
    counts = varlink.call(service.control, "History")["totals"]["canaries"]
    assert counts == [{"outcome": "promoted", "count": 0}, {"outcome": "refused", "count": 1}]


def test_for_systemd_the_reload_is_over(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, *BACKGROUND)
    service.notify.wait_for("RELOADING", "1")
    ready = service.notify.wait_for("READY", "1")
    status = ready.get("STATUS") or ""
    assert "generation 2 canary, 30% of new clients (up to 3" in status
    # Somebody waits: a reload that is queued. systemd has to wait for that again.
    outcome = service.reload("--timeout", "10ms")
    assert outcome.code == 4
    service.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
    assert service.run("promote", service.name).code == 0


def test_a_caller_may_wait_all_the_same(start: StartService, program: Program) -> None:
    """And as long as one waits, the unit is reloading."""
    service = start(program.command, listen=program.listen, options=(*LANES, *BACKGROUND))
    program.publish("2")
    with varlink.begin(service.control, "Reload", {"canary_background": False}) as call:
        wait.until(lambda: canary(service) is not None, "the canary")
        service.notify.wait_for("RELOADING", "1")
        service.notify.wait_for_status("generation 2 canary")
        assert not wait.readable(call.fileno(), timeout=0.0)
        assert service.run("promote", service.name).code == 0
        handover = varlink.finish(call)["handover"]
    assert (handover["outcome"], handover["share"]) == ("committed", None)
    ready = service.notify.wait_for("READY", "1")
    assert "canary" not in (ready.get("STATUS") or "")


def test_an_upgrade_meanwhile(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, *BACKGROUND)
    assert service.run("upgrade", service.name).code == 0, service.stderr
    found = canary(service)
    assert found is not None
    assert found["share"] == 300
    assert service.run("rollback", service.name).code == 0
    assert {program.ask() for _ in range(50)} == {"1"}


def test_it_cannot_wait_for_the_drain(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    outcome = service.reload("--wait-drained", "--canary-background")
    assert outcome.code == 2
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize(("value", "code"), [("true", 0), ('"yes"', 2), ("1", 2)])
def test_in_a_configuration_file(
    start: StartService, program: Program, folder: Path, value: str, code: int
) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    file = folder / "app.toml"
    file.write_text(f'command = ["true"]\ncanary-background = {value}\n')
    outcome = service.run("config", "check", str(file))
    assert outcome.code == code, outcome
    if code:
        assert "canary-background: must be true or false, not " in outcome.stderr
