"""The state with which a new version takes over."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import leaks, varlink, wait
from tests.support.installed import upgrade
from tests.support.program import GOOD, Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

ORPHAN = """
listener = bound()
while True:
    connection, _ = listener.accept()
    with connection:
        if connection.recv(100) == b"exit":
            os._exit(0)
        child = subprocess.Popen(["/bin/sleep", "1000"], env={})
        connection.sendall(str(child.pid).encode())
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def serves(service: Service, number: int) -> bool:
    """Whether this generation serves, and is the only one."""
    return service.states() == {number: "running"}


def test_a_crash_meanwhile_is_noticed(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    for number in range(1, 6):
        wait.until(partial(serves, service, number), "it to serve")
        pid = service.status()["generations"][0]["pid"]
        with ThreadPoolExecutor() as pool:
            outcome = pool.submit(service.run, "upgrade", service.name)
            os.kill(pid, signal.SIGKILL)
            assert outcome.result().code == 0
        program.ask()
    wait.until(partial(serves, service, 6), "the sixth to serve")


def test_a_back_off_goes_on(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2", "sys.exit(3)\n")
    os.kill(service.status()["generations"][0]["pid"], signal.SIGKILL)
    wait.until(lambda: service.status()["state"] == "backoff", "the back-off")
    wait.until(lambda: "generation 5: the program exited" in service.stderr, "more crashes")
    failures = service.status()["starts"]["failures"]
    upgrade(service)
    assert service.status()["starts"]["failures"][: len(failures)] == failures
    program.publish("3")
    assert program.ask() == "3"


def test_an_orphan_is_still_known(start: StartService, program: Program) -> None:
    """It has an empty environment, and its parent has ended."""
    program.publish("1", ORPHAN)
    service = start(program.command, listen=program.listen)
    orphan = int(program.ask("spawn"))
    wait.until(lambda: orphan in pids(service), "it to be seen")
    with pytest.raises(OSError, match="end of file"):
        program.ask("exit")
    wait.until(lambda: pids(service) == [orphan], "the program to end")
    upgrade(service)
    assert pids(service) == [orphan]
    program.publish("2")
    assert service.reload("--wait-drained").code == 0
    assert wait.ended(orphan)


def pids(service: Service) -> list[int]:
    """The processes of the first generation."""
    found: list[int] = service.status()["generations"][0]["pids"]
    return found


def test_a_signal_meanwhile_is_not_lost(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    for number in range(2, 6):
        with ThreadPoolExecutor() as pool:
            outcome = pool.submit(service.run, "upgrade", service.name)
            service.signal(signal.SIGHUP)
            assert outcome.result().code == 0
        wait.until(partial(serves, service, number), "the reload")


def test_it_waits_for_a_reload(start: StartService, program: Program, folder: Path) -> None:
    go = folder / "go"
    program.publish("1")
    service = start(program.command, listen=program.listen)
    program.publish("2", f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n{GOOD}")
    with ThreadPoolExecutor() as pool:
        reload = pool.submit(service.reload)
        wait.until(lambda: service.states() == {1: "running", 2: "pending"}, "the reload")
        upgrading = pool.submit(service.run, "upgrade", service.name)
        wait.until(lambda: any(" upgrade " in x for x in leaks.processes().values()), "the call")
        assert not upgrading.done()
        go.touch()
        assert reload.result().code == 0
        assert upgrading.result().code == 0
    assert program.ask() == "2"


def test_clients_of_the_control_socket_stay_connected(
    start: StartService, program: Program
) -> None:
    service = start(program.command, listen=program.listen)
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(socket.socket(socket.AF_UNIX))
        idle.connect(str(service.control))
        # The first half of a call.
        idle.sendall(b'{"method": "org.sockact.Service.Sta')
        watcher = stack.enter_context(socket.socket(socket.AF_UNIX))
        watcher.settimeout(wait.TIMEOUT)
        watcher.connect(str(service.control))
        watcher.sendall(b'{"method": "org.sockact.Service.Status", "more": true}\0')
        assert b"serving" in watcher.recv(1 << 16)
        asking = [stack.enter_context(varlink.begin(service.control, "Upgrade")) for _ in range(5)]
        for sock in asking:
            assert varlink.finish(sock).keys() == {"version", "before"}
        for _ in range(3):
            assert b"serving" in watcher.recv(1 << 16)
        idle.sendall(b'tus"}\0')
        assert varlink.finish(idle)["status"]["state"] == "serving"


def test_the_watchdog_is_pinged_on(start: StartService, program: Program) -> None:
    environment = {**os.environ, "WATCHDOG_USEC": "400000"}
    service = start(program.command, listen=program.listen, environment=environment)
    service.notify.wait_for("WATCHDOG", "1")
    upgrade(service)
    while service.notify.receive(0):
        pass
    for _ in range(3):
        service.notify.wait_for("WATCHDOG", "1")


def test_the_programs_own_watchdog_is_heard_on(start: StartService, program: Program) -> None:
    """Its $NOTIFY_SOCKET stays the same."""
    program.publish(
        "1",
        """
def tell(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
        sock.send(text)
listener = bound()
tell(b"READY=1")
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(100)
        try:
            tell(b"WATCHDOG=1")
            connection.sendall(VERSION)
        except OSError as error:
            connection.sendall(str(error).encode())
""",
    )
    service = start(program.command, listen=program.listen, options=("--ready", "notify"))
    for _ in range(2):
        assert program.ask() == "1"
        upgrade(service)
    assert program.ask() == "1"


def test_all_services_at_once(start: StartService, folder: Path) -> None:
    programs = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        programs.append(Program(folder / name))
    first = start(programs[0].command, listen=programs[0].listen, name="one")
    launcher = ("env", f"SOCKACT_RUNTIME_DIR={first.runtime}")
    second = start(programs[1].command, listen=programs[1].listen, name="two", launcher=launcher)
    both = first.run("upgrade", "--all")
    assert (both.code, both.stderr) == (0, "")
    assert [line.partition(":")[0] for line in both.stdout.splitlines()] == ["one", "two"]
    assert [program.ask() for program in programs] == ["1", "1"]
    second.signal(signal.SIGTERM)
    assert second.process.wait(30) == 0
    assert first.stop() == 0
    none = first.run("upgrade", "--all")
    assert (none.code, none.stdout, none.stderr) == (0, "", "")
    assert first.run("upgrade", "one").code == 3
    named = first.run("upgrade", "--all", "one")
    assert (named.code, "mutually exclusive" in named.stderr) == (2, True)
