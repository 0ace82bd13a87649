"""A program that binds other addresses than the listeners': who is told what, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

REUSE_PORT = """
second = socket.socket()
second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
second.bind(("127.0.0.1", SECOND))
second.listen()
threading.Thread(target=accept, args=(second,)).start()
accept(bound())
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def status_lines(service: Service) -> list[str]:
    """What systemd has been told so far."""
    while service.notify.receive(0):
        pass
    return [message.get("STATUS") or "" for message in service.notify.messages]


def test_wrong_port_is_told_at_once_and_not_waited_for(
    start: StartService, program: Program
) -> None:
    """The command line names the port, so nothing else is to be expected."""
    other = wait.free_port()
    program.publish("1", "accept(bound(('127.0.0.1', int(sys.argv[1]))))\n")
    command = [*program.command, str(other)]
    service = start(command, listen=program.listen, ready=False)
    why = f"it bound 127.0.0.1:{other}, which no listener covers"
    wait.until(lambda: why in service.stderr, "the message")
    assert service.process.poll() is None
    wait.until(lambda: any(why in line for line in status_lines(service)), "the status")
    assert service.process.wait(20) == 2
    assert f"not ready: {why}" in service.stderr.splitlines()[-1]


def test_port_of_its_own_before_the_listener(start: StartService, program: Program) -> None:
    """For metrics, say: a program that starts slowly is waited for."""
    other = wait.free_port()
    program.publish(
        "1",
        f"other = bound(('127.0.0.1', {other}))\n"
        "while sum(range(1000)) and not os.path.exists('go'):\n    pass\n"
        "accept(bound())\n",
    )
    service = start(program.command, listen=program.listen, ready=False)
    wait.until(lambda: str(other) in service.stderr, "the message")
    (service.folder / "go").touch()
    service.wait_ready()
    assert program.ask() == "1"


def test_only_what_is_missing_is_named(start: StartService, program: Program) -> None:
    second, other = wait.free_port(), wait.free_port()
    program.publish("1", f"a = bound()\nb = bound(('127.0.0.1', {other}))\naccept(a)\n")
    listen = (*program.listen, f"127.0.0.1:{second}")
    options = ("--start-timeout", "2s")
    service = start(program.command, listen=listen, options=options, ready=False)
    assert service.process.wait(20) == 1
    line = service.stderr.splitlines()[-1]
    assert f"it bound 127.0.0.1:{other}, which no listener covers" in line
    assert f"make the program bind 127.0.0.1:{second}, or" in line


def test_second_family(start: StartService, program: Program) -> None:
    """One line says that both are needed, as soon as the bind is refused."""
    program.publish(
        "1",
        "a = bound(('0.0.0.0', PORT))\n"
        "b = socket.socket(socket.AF_INET6)\n"
        "b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n"
        "b.bind(('::', PORT))\n",
    )
    service = start(program.command, listen=(f"0.0.0.0:{program.port}",), ready=False)
    assert service.process.wait(20) == 1
    line = service.stderr.splitlines()[-1]
    write = f"add ListenStream=[::]:{program.port} and BindIPv6Only=ipv6-only"
    assert f"{write} (or --listen [::]:{program.port})" in line


def test_one_socket_for_two_listeners(start: StartService, program: Program) -> None:
    program.publish("1", "accept(bound(('::', PORT), socket.AF_INET6))\n")
    listen = (f"0.0.0.0:{program.port}", f"[::]:{program.port}")
    options = ("--start-timeout", "2s")
    service = start(program.command, listen=listen, options=options, ready=False)
    assert service.process.wait(20) != 0
    assert f"(--listen {program.port}) instead of both" in service.stderr.splitlines()[-1]


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
def test_shared_port_without_a_listener(start: StartService, program: Program, adopt: str) -> None:
    """Both generations would have it, each with a queue that it takes along when it ends."""
    second = wait.free_port()
    program.publish("1", REUSE_PORT.replace("SECOND", str(second)))
    service = start(program.command, listen=program.listen, options=("--adopt", adopt))
    assert ask(("127.0.0.1", second)) == "1"
    (line,) = [line for line in service.stderr.splitlines() if str(second) in line]
    assert f"add ListenStream=127.0.0.1:{second} (--listen 127.0.0.1:{second})" in line
    assert service.status()["generations"][0]["unlisted"] == [f"127.0.0.1:{second}"]
    assert f"no listener for 127.0.0.1:{second}:" in service.run("status", "test").stdout


def test_shared_port_is_a_finding_of_check(
    start: StartService, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sockact.cli.setup import unlisted

    second = wait.free_port()
    program.publish("1", REUSE_PORT.replace("SECOND", str(second)))
    service = start(program.command, listen=program.listen)
    monkeypatch.setenv("SOCKACT_RUNTIME_DIR", service.environment["SOCKACT_RUNTIME_DIR"])
    (finding,) = unlisted.find("test.service", "test")
    assert finding.write == f"set ListenStream=127.0.0.1:{second} in the .socket unit"
    assert list(unlisted.find("other.service", "other")) == []
