"""Another version of sockact takes over in place, and nobody notices."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import wait
from tests.support.gated import ASYNCIO, KINDS
from tests.support.installed import Installed, upgrade
from tests.support.program import Hammer, Program, ask, read_all

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.conftest import StartService
    from tests.support.service import Service

# Binds its address once more when it is asked to, and tells how that went.
BINDS_AGAIN = """
listener = bound()
while True:
    connection, _ = listener.accept()
    with connection:
        if connection.recv(100) == b"again":
            try:
                bound().close()
                answer = b"bound"
            except OSError as error:
                answer = str(error).encode()
            connection.sendall(answer)
        else:
            connection.sendall(VERSION)
"""
SPEAKS = """
listener = bound()
while True:
    connection, _ = listener.accept()
    with connection:
        word = connection.recv(100).decode()
        print(word, file=sys.stderr, flush=True)
        print(word.upper(), flush=True)
        connection.sendall(VERSION)
"""
UPGRADES = 20
# Seen: 0 to 150 KiB between the second and the last upgrade; each is a process image of its own.
RESIDENT_GROWTH = 1 << 20


@pytest.fixture
def installed(folder: Path) -> Installed:
    found = Installed(folder / "installed")
    found.publish("1.0")
    return found


def lasting(status: dict[str, Any]) -> dict[str, Any]:
    """The part of the status that an upgrade must not change."""
    generations = [
        {key: one[key] for key in ("number", "state", "pid", "pids", "started_usec", "gate")}
        for one in status["generations"]
    ]
    kept = ("name", "pid", "state", "command", "adopt", "ready", "starts")
    handover = status["handover"] and {**status["handover"], "requested_usec": 0}
    return {key: status[key] for key in kept} | {"generations": generations, "handover": handover}


@KINDS
def test_no_client_notices(
    start: StartService, program: Program, installed: Installed, body: str
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, launcher=installed.launcher)
    command_line = psutil.Process(service.process.pid).cmdline()
    name = psutil.Process(service.process.pid).name()
    before = service.status()
    assert before["version"] == "1.0"
    heard = len(service.notify.messages)
    with Hammer(program.port, clients=4) as hammer, program.in_flight(1.0) as request:
        service.wait_busy()
        hammer.wait_for("1")
        installed.publish("2.0.0")
        outcome = service.run("upgrade", service.name)
        assert outcome.stdout == "test: upgraded from sockact 1.0 to 2.0.0\n", outcome
        hammer.wait_for("1")
        assert read_all(request) == "1"
    assert not hammer.failures
    after = service.status()
    assert after["version"] == "2.0.0"
    assert lasting(after) == lasting(before)
    assert after["generations"][0]["age_seconds"] > before["generations"][0]["age_seconds"]
    assert psutil.Process(service.process.pid).cmdline() == command_line
    assert psutil.Process(service.process.pid).name() == name
    # systemd gets only a STATUS.
    while service.notify.receive(0):
        pass
    told = {key for one in service.notify.messages[heard:] for key, _ in one.fields}
    assert told <= {"STATUS"}
    assert "upgraded in place from 1.0 to 2.0.0" in service.stderr


@KINDS
def test_a_generation_of_the_version_before_is_handed_over(
    start: StartService, program: Program, installed: Installed, body: str
) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen, launcher=installed.launcher)
    installed.publish("2.0.0")
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        upgrade(service)
        program.publish("2", body)
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("2")
        upgrade(service)
        program.publish("3", body)
        assert service.reload("--wait-drained").code == 0
        hammer.wait_for("3")
    assert not hammer.failures
    assert service.stop() == 0


@KINDS
def test_a_drain_goes_on(start: StartService, program: Program, body: str) -> None:
    program.publish("1", body)
    service = start(program.command, listen=program.listen)
    with program.in_flight(3.0) as request:
        service.wait_busy()
        program.publish("2", body)
        assert service.reload().code == 0
        wait.until(lambda: service.status()["generations"][0]["gate"] == "closed", "its gate")
        left = service.status()["generations"][0]["seconds_left"]
        upgrade(service)
        first, second = service.status()["generations"]
        assert (first["state"], first["gate"]) == ("draining", "closed")
        assert first["seconds_left"] < left
        assert second["state"] == "running"
        assert {program.ask() for _ in range(20)} == {"2"}
        assert read_all(request) == "1"
    service.wait_drained()
    assert "generation 1: all connections finished, sending SIGTERM" in service.stderr
    assert "generation 1: drained" in service.stderr


@KINDS
def test_rollback_to_a_kept_predecessor_after_an_upgrade(
    start: StartService, program: Program, body: str
) -> None:
    program.publish("1", body)
    options = ("--keep-predecessor", "60s")
    service = start(program.command, listen=program.listen, options=options)
    with Hammer(program.port) as hammer:
        program.publish("2", body)
        assert service.reload().code == 0
        wait.until(lambda: service.status()["generations"][0]["gate"] == "closed", "its gate")
        upgrade(service)
        hammer.wait_for("2")
        assert service.run("rollback", service.name).code == 0
        hammer.wait_for("1")
    assert not hammer.failures
    assert service.status()["handover"]["rollback"]


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
def test_the_program_may_bind_again(start: StartService, program: Program, adopt: str) -> None:
    """Its seccomp filter asks whoever holds the descriptor for its notifications, its shim whoever
    listens at the address that it knows.
    """
    program.publish("1", BINDS_AGAIN)
    service = start(program.command, listen=program.listen, options=("--adopt", adopt))
    upgrade(service)
    assert program.ask("again") == "bound"
    upgrade(service)
    assert program.ask("again") == "bound"


def test_the_output_of_a_successor_is_passed_on(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2", SPEAKS)
    assert service.reload("--wait-drained").code == 0
    program.ask("before")
    upgrade(service)
    program.ask("after")
    words = "after", "AFTER", "before", "BEFORE"
    wait.until(lambda: {*words} <= {*service.stderr.splitlines()}, "what it said")
    assert [service.stderr.splitlines().count(word) for word in words] == [1, 1, 1, 1]


def test_unix_listeners_and_their_files_stay(start: StartService, folder: Path) -> None:
    program = Program(folder)
    path = str(folder / "sock")
    program.publish("1", f"accept(bound({path!r}, socket.AF_UNIX))\n")
    service = start(program.command, listen=(path,))
    inode = os.stat(path).st_ino
    upgrade(service)
    assert ask(path) == "1"
    program.publish("2", f"accept(bound({path!r}, socket.AF_UNIX))\n")
    assert service.reload("--wait-drained").code == 0
    assert (ask(path), os.stat(path).st_ino) == ("2", inode)
    assert service.stop() == 0
    assert not os.path.exists(path)


@pytest.mark.slow
def test_nothing_grows(start: StartService, program: Program) -> None:
    program.publish("1", ASYNCIO)
    service = start(program.command, listen=program.listen)
    program.publish("2", ASYNCIO)
    assert service.reload("--wait-drained").code == 0
    process = psutil.Process(service.process.pid)
    upgrade(service)
    before, resident = kinds(service), process.memory_info().rss
    with Hammer(program.port) as hammer:
        for _ in range(UPGRADES):
            upgrade(service)
        hammer.wait_for("2")
    assert not hammer.failures
    wait.until(lambda: kinds(service) == before, f"the descriptors to be as before: {before}")
    assert process.memory_info().rss - resident < RESIDENT_GROWTH
    assert [x for x in process.children(True) if x.status() == psutil.STATUS_ZOMBIE] == []
    assert service.reload().code == 0


def kinds(service: Service) -> list[str]:
    """What the supervisor's descriptors are, without their inodes."""
    folder = f"/proc/{service.process.pid}/fd"
    found = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{name}").partition(":")[0])
    return sorted(found)
