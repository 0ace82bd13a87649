"""A release is rolled back by hand or after a crash; the predecessor is kept for that."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from tests.process.reloads.test_taking_back import LIMITS, Reloading, stopped
from tests.support import wait
from tests.support.gated import KINDS
from tests.support.program import Hammer, Program, connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service


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
    """With lanes, it needs no answer to get clients."""
    more = ("--keep-predecessor", "10m", "--lanes", "off", *LIMITS)
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
    service.remove_sockets()
