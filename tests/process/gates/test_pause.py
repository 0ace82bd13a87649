"""A pause by the operator: nobody is accepted, and nobody fails, whatever the program waits in."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.paused import (
    ACCEPT,
    CLIENTS,
    EPOLL,
    HEAD,
    HTTP,
    PATIENCE,
    SELECT,
    begin,
    pause,
    resume,
    wait_for_clients,
    wait_until_served,
)
from tests.support.program import Hammer, Program, connect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

ECHO = """
server = bound(socket.SOCK_DGRAM)
def answer():
    data, peer = server.recvfrom(100)
    server.sendto(data, peer)
"""
DATAGRAMS = HEAD.removesuffix("listener = bound()\n") + ECHO
POLLED = f"""{DATAGRAMS}
epoll = select.epoll()
epoll.register(server, select.EPOLLIN)
while epoll.poll():
    answer()
"""
APP = """
def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"hi"]
async def asgi(scope, receive, send):
    if scope["type"] == "http":
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})
"""
LANES = ("--lanes", "require")


def publish(program: Program, body: str, version: str = "1") -> list[str]:
    """Write a program that runs without the shim; return its command."""
    program.write(f"PORT = {program.port}\nVERSION = {version.encode()!r}\n{body}")
    return [sys.executable, "-I", str(program.path)]


def pauses(service: Service, program: Program, by: str, command: str = "fast") -> None:
    """Pause it under load, and resume."""
    (generation,) = service.status()["generations"]
    assert generation["gate_by"] == by
    with Hammer(program.port, CLIENTS, command=command, timeout=PATIENCE) as hammer:
        wait_until_served(hammer, 2 * CLIENTS)
        assert "clients wait for up to" in begin(service)
        wait_for_clients(service)
        before = hammer.answers.total()
        shown = service.run("status", service.name).stdout
        assert f"{service.name}: paused (by the operator), up to " in shown
        assert "no longer accepting" in shown
        assert "paused (by the operator), up to " in service.run("list").stdout
        assert hammer.answers.total() == before, "nobody is accepted"
        resume(service)
        wait_until_served(hammer, before + CLIENTS)
    assert hammer.failures == [], "nobody fails"
    assert service.states() == {1: "running"}


@pytest.mark.parametrize(
    ("server", "by"),
    [
        (["gunicorn", "--workers=2", "--no-control-socket", "app:wsgi", "--bind"], "shim"),
        (["uvicorn", "--no-access-log", "app:asgi", "--port"], "epoll"),
    ],
    ids=["gunicorn", "uvicorn"],
)
def test_servers(
    start: StartService, program: Program, folder: Path, server: list[str], by: str
) -> None:
    if not importlib.util.find_spec(server[0]):
        pytest.skip(f"{server[0]} is not installed")
    where = str(program.port) if by == "epoll" else f"127.0.0.1:{program.port}"
    command = [sys.executable, "-m", *server, where]
    (folder / "app.py").write_text(APP)
    options = ("--lanes", "off", "--directory", str(folder))
    service = start(command, listen=program.listen, options=options)
    pauses(service, program, by, HTTP)


def test_epoll_without_the_shim(start: StartService, program: Program) -> None:
    service = start(publish(program, EPOLL), listen=program.listen, options=("--lanes", "off"))
    pauses(service, program, "epoll")


@pytest.mark.parametrize("body", [ACCEPT, SELECT], ids=["accept", "select"])
@pytest.mark.parametrize(("lanes", "by"), [("auto", "lane"), ("off", "none")])
def test_without_a_gate_in_the_program(
    start: StartService, program: Program, body: str, lanes: str, by: str
) -> None:
    """Connections do not begin: the clients send their first packet again."""
    service = start(publish(program, body), listen=program.listen, options=("--lanes", lanes))
    pauses(service, program, by)


def test_a_service_that_cannot_be_paused(start: StartService, folder: Path) -> None:
    """A Unix socket has no first packet to drop."""
    path = folder / "app.sock"
    body = f"""
import socket
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(path)!r})
listener.listen()
while True:
    listener.accept()[0].close()
"""
    script = folder / "program.py"
    script.write_text(body)
    service = start([sys.executable, "-I", str(script)], listen=(str(path),))
    outcome = service.run("pause", service.name)
    assert outcome.code == 1
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("sockact: test: not paused: generation 1 cannot stop accepting: process")
    assert (pause(service)["active"], pause(service)["complete"]) == (False, False)
    with connect(str(path)) as client:
        assert client.recv(1) == b"", "it accepts again"


def test_datagrams_wait_in_the_buffer(start: StartService, program: Program) -> None:
    service = start(publish(program, POLLED), listen=(f"udp:127.0.0.1:{program.port}",))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", program.port))
        client.settimeout(wait.TIMEOUT)
        client.send(b"before")
        assert client.recv(100) == b"before"
        assert "datagrams wait in the socket's buffer" in begin(service)
        for number in range(5):
            client.send(str(number).encode())
        assert not wait.readable(client.fileno(), timeout=0.0)
        resume(service)
        assert [client.recv(100) for _ in range(5)] == [str(n).encode() for n in range(5)]


def test_datagrams_that_would_be_read(start: StartService, program: Program) -> None:
    command = publish(program, f"{DATAGRAMS}\nwhile True:\n    answer()\n")
    service = start(command, listen=(f"udp:127.0.0.1:{program.port}",))
    outcome = service.run("pause", service.name)
    assert outcome.code == 1, outcome.stdout
    assert "not paused: generation 1 cannot stop accepting" in outcome.stderr


def test_a_canary(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    assert service.reload("--canary", "50% 1h", "--timeout", "10ms").code == 4
    wait.until(lambda: service.status()["canary"] is not None, "the canary")
    with Hammer(program.port, CLIENTS, timeout=PATIENCE) as hammer:
        wait.until(lambda: len(hammer.answers) == 2, "answers of both")
        begin(service)
        wait_for_clients(service)
        before = Counter(hammer.answers)
        assert [one["gate"] for one in service.status()["generations"]] == ["closed"] * 2
        outcome = service.run("promote", service.name)
        assert (outcome.code, "run `sockact resume` first" in outcome.stderr) == (1, True)
        assert hammer.answers == before
        resume(service)
        for version in "12":
            wait.until(lambda v=version: hammer.answers[v] > before[v], "its share")  # type: ignore[misc]
    assert hammer.failures == []
    (listener,) = service.status()["listeners"]
    assert [lane["share"] for lane in listener["lanes"]] == [500, 500]


def test_a_new_worker_does_not_accept(start: StartService, program: Program) -> None:
    """It has an epoll instance of its own, which nobody has looked at."""
    body = (
        HEAD
        + """
def work():
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    while epoll.poll():
        serve(listener.accept()[0])
while True:
    if os.fork() == 0:
        work()
    os.wait()
"""
    )
    service = start(publish(program, body), listen=program.listen, options=("--lanes", "off"))
    begin(service)
    (generation,) = service.status()["generations"]
    (worker,) = [pid for pid in generation["pids"] if pid != generation["pid"]]
    os.kill(worker, signal.SIGKILL)

    def is_closed() -> bool:
        (found,) = service.status()["generations"]
        return worker not in found["pids"] and len(found["pids"]) == 2

    wait.until(is_closed, "the next worker")
    resume(service)
    assert program.ask() == "1"
