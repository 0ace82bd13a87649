"""A canary gets a share of the clients, and more of them step by step, or none any more."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from sockact.core.canary.verdict import NOT_COUNTED
from sockact.core.lanes import missing
from tests.support import wait
from tests.support.program import Hammer, Program
from tests.support.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

LANES = ("--lanes", "require")
HELD = "50% 1h"


def canary(service: Service) -> dict[str, Any] | None:
    found: dict[str, Any] | None = service.status()["canary"]
    return found


def begin(service: Service, steps: str = HELD, *options: str) -> None:
    """Begin a canary, and return when it gets clients."""
    outcome = service.reload("--canary", steps, *options, "--timeout", "10ms")
    assert outcome.code == 4, outcome.stderr
    wait.until(lambda: canary(service) is not None, "the canary")


def test_the_steps_of_a_canary(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        outcome = service.reload("--canary", "20% 1s, 60% 1s")
        hammer.wait_for("2")
    assert (outcome.code, hammer.failures) == (0, []), outcome.stderr
    said = [line for line in service.stderr.splitlines() if "canary" in line]
    assert said == [
        "sockact: test: generation 2: canary: gets 20% of the new clients",
        f"sockact: test: generation 2: canary: {NOT_COUNTED}",
        "sockact: test: generation 2: canary: gets 60% of the new clients",
        f"sockact: test: generation 2: canary: gets all clients ({NOT_COUNTED})",
    ]
    service.wait_drained()
    assert service.states() == {2: "running"}


def test_the_share_of_a_canary(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, "30% 1h")
    seen = Counter(program.ask() for _ in range(400))
    assert 70 < seen["2"] < 170
    found = canary(service)
    assert found is not None
    assert (found["generation"], found["share"], found["by"], found["held"]) == (
        *(2, 300),
        *("connection", False),
    )
    (listener,) = service.status()["listeners"]
    assert [one["share"] for one in listener["lanes"]] == [700, 300]
    service.notify.wait_for_status("generation 2 canary, 30% of new clients")
    assert service.run("rollback", service.name).code == 0
    service.wait_drained()
    assert {program.ask() for _ in range(20)} == {"1"}


def test_no_client_sees_both(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, HELD, "--canary-by", "client")
    seen = {program.ask() for _ in range(100)}
    assert len(seen) == 1
    assert service.run("promote", service.name).code == 0
    assert program.ask() == "2"


def test_by_hand(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service, "1% 1h")
    outcome = service.run("canary", service.name, "100%")
    assert outcome.stdout == (
        "test: the canary gets 100% of the new clients, and keeps this share\n"
    )
    assert {program.ask() for _ in range(50)} == {"2"}
    assert service.run("canary", service.name, "25%").code == 0
    assert {program.ask() for _ in range(100)} == {"1", "2"}
    found = canary(service)
    assert found is not None
    assert found["held"]
    outcome = service.run("promote", service.name)
    assert outcome.stdout.startswith("test: generation 2 is serving")
    assert canary(service) is None
    service.wait_drained()


@pytest.mark.parametrize("lost", [1, 2])
def test_death_of_either_side(start: StartService, program: Program, lost: int) -> None:
    """The other one gets all clients."""
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service)
    pids = {one["number"]: one["pid"] for one in service.status()["generations"]}
    os.kill(pids[lost], signal.SIGKILL)
    wait.until(lambda: canary(service) is None, "the end of the canary")
    assert {program.ask() for _ in range(50)} == {str(3 - lost)}
    wait.until(lambda: service.states() == {3 - lost: "running"}, "one generation")
    outcome = service.status()["handover"]["outcome"]
    assert outcome == ("committed" if lost == 1 else "failed")


def test_an_upgrade_carries_a_canary(start: StartService, program: Program) -> None:
    options = (*LANES, "--canary", HELD)
    service = start(program.command, listen=program.listen, options=options)
    program.publish("2")
    service.signal(signal.SIGHUP)
    wait.until(lambda: canary(service) is not None, "the canary")
    before = canary(service)
    assert service.run("upgrade", service.name).code == 0, service.stderr
    after = canary(service)
    assert before is not None
    assert after is not None
    del before["seconds_left"], after["seconds_left"]
    assert before == after
    assert {program.ask() for _ in range(50)} == {"1", "2"}
    assert service.run("promote", service.name).code == 0
    assert {program.ask() for _ in range(50)} == {"2"}


def test_a_rollback_after_an_upgrade(start: StartService, program: Program) -> None:
    """The version that takes over knows what the kernel was told before."""
    service = start(program.command, listen=program.listen, options=(*LANES, "--canary", HELD))
    program.publish("2")
    service.signal(signal.SIGHUP)
    wait.until(lambda: canary(service) is not None, "the canary")
    assert service.run("upgrade", service.name).code == 0, service.stderr
    assert service.run("rollback", service.name).code == 0
    assert {program.ask() for _ in range(50)} == {"1"}


def test_a_reload_that_is_asked_for_meanwhile_waits(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service)
    program.publish("3")
    service.signal(signal.SIGHUP)
    assert service.run("promote", service.name).code == 0
    wait.until(lambda: program.ask() == "3", "the queued reload")


def test_a_stop_ends_a_canary(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    begin(service)
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        ("10% 1min, 5% 1min", "shares must rise"),
        ("110% 1min", "above 0% and at most 100%"),
        ("half 1min", "not a step"),
        ("10%", "has no time"),
    ],
)
def test_bad_steps(start: StartService, program: Program, steps: str, complaint: str) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    outcome = service.reload("--canary", steps)
    assert outcome.code == 2
    assert len(outcome.stderr.splitlines()) == 1
    assert complaint in outcome.stderr
    assert service.states() == {1: "running"}


def test_without_lanes(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=("--lanes", "off"))
    outcome = service.reload("--canary", HELD)
    assert outcome.code == 2
    assert outcome.stderr == f"sockact: test: not reloaded: {missing.OFF}\n"
    assert service.states() == {1: "running"}
    for command in (("canary", service.name, "5%"), ("promote", service.name)):
        outcome = service.run(*command)
        assert outcome.code == 2
        never = f"no canary is under way, and there can be none: {missing.OFF}"
        assert outcome.stderr == f"sockact: test: {never}; nothing was changed\n"


@pytest.mark.parametrize("options", [("--canary", HELD), ("--warm", "http://127.0.0.1:{port}/")])
def test_what_needs_lanes_has_them_by_default(
    program: Program, folder: Path, options: tuple[str, str]
) -> None:
    option, value = options
    given = option, value.format(port=program.port)
    with Service(program.command, folder=folder, listen=program.listen, options=given) as service:
        service.wait_ready()
        (listener,) = service.status()["listeners"]
        assert listener["lanes"]


def test_none_on_unix_sockets(program: Program, folder: Path) -> None:
    listen = (*program.listen, f"{folder}/x.sock")
    options = ("--canary", HELD)
    with Service(program.command, folder=folder, listen=listen, options=options) as service:
        assert service.process.wait(30.0) == 2
    assert "--canary needs lanes: Unix sockets have no lanes" in service.stderr


def test_at_the_start(program: Program, folder: Path) -> None:
    options = ("--canary", HELD, "--lanes", "off")
    with Service(program.command, folder=folder, listen=program.listen, options=options) as service:
        assert service.process.wait(30.0) == 2
    assert f"--canary needs lanes: {missing.OFF}" in service.stderr
