"""Reloads in lanes: nothing in the program is touched, and no client is lost."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import psutil

from sockact.core.lanes.lending import MOST
from tests.support import wait
from tests.support.program import GOOD, Hammer, Program, connect, read_all
from tests.support.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

LANES = ("--lanes", "require")

# A loop as people write it first: select() on a listener that blocks. VERSION and PORT are given.
SELECT = """
import select, socket
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", PORT))
listener.listen()
clients = [listener]
while True:
    for ready in select.select(clients, [], [])[0]:
        if ready is listener:
            clients.append(listener.accept()[0])
            continue
        if ready.recv(100):
            ready.sendall(VERSION)
        ready.close()
        clients.remove(ready)
"""
ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", PORT))
while True:
    data, peer = server.recvfrom(100)
    server.sendto(VERSION + b" " + data, peer)
"""


def publish(program: Program, version: str, text: str) -> None:
    program.write(f"PORT = {program.port}\nVERSION = {version.encode()!r}\n{text}")


def command(program: Program) -> list[str]:
    """Without the shim: Python loads nothing from its environment."""
    return [sys.executable, "-I", str(program.path)]


def lanes(service: Service) -> dict[int, tuple[list[int], int]]:
    """Lane → the generations that have it, and its share of the clients."""
    (listener,) = service.status()["listeners"]
    return {one["number"]: (one["generations"], one["share"]) for one in listener["lanes"]}


def generations(service: Service) -> dict[int, dict[str, Any]]:
    return {one["number"]: one for one in service.status()["generations"]}


def test_a_reload_needs_no_gate_in_the_program(start: StartService, program: Program) -> None:
    publish(program, "1", SELECT)
    service = start(command(program), listen=program.listen, options=LANES)
    assert lanes(service) == {0: ([1], 1000)}
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        for version in "2345":
            publish(program, version, SELECT)
            assert service.reload("--wait-drained").code == 0, service.stderr
            hammer.wait_for(version)
    assert hammer.failures == []
    (lane,) = lanes(service).values()
    assert lane == ([5], 1000)
    assert generations(service)[5]["gate_by"] == "lane"
    text = service.run("status", service.name).stdout
    assert "accepting (lane)" in text
    assert "generation 5, 100 % of new clients, 0 queued" in text


class Echoes:
    """A client that sends one datagram after the other, and waits for the answer to each."""

    def __init__(self, port: int) -> None:
        self.versions = Counter[str]()
        self.lost = 0
        self._address = ("127.0.0.1", port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Echoes:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(self._address)
            client.settimeout(2.0)
            while not self._stop.is_set():
                client.send(b"hello")
                try:
                    version, _ = client.recv(100).decode().split()
                except TimeoutError:
                    self.lost += 1
                else:
                    self.versions[version] += 1


def test_no_datagram_is_lost(start: StartService, folder: Path) -> None:
    program = Program(folder, wait.free_port(socket.SOCK_DGRAM))
    publish(program, "1", ECHO)
    listen = (f"udp:127.0.0.1:{program.port}",)
    service = start(command(program), listen=listen, options=LANES)
    with Echoes(program.port) as echoes:
        for version in "23456":
            publish(program, version, ECHO)
            assert service.reload("--wait-drained").code == 0, service.stderr
            before = echoes.versions[version]
            wait.until(lambda: echoes.versions[version] > before, "an answer")  # noqa: B023
    assert echoes.lost == 0
    assert set(echoes.versions) == set("123456")


def test_nobody_is_refused_after_a_crash(start: StartService, program: Program) -> None:
    """Clients wait in the lane of the program that has crashed; the next one is lent this lane."""
    service = start(program.command, listen=program.listen, options=LANES)
    assert service.reload("--wait-drained").code == 0
    (steered,) = lanes(service)
    first = psutil.Process(generations(service)[2]["pid"])
    first.suspend()
    wait.until(lambda: first.status() == psutil.STATUS_STOPPED, "the program to stand still")
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", program.port)
        clients = [stack.enter_context(connect(address)) for _ in range(5)]
        first.kill()
        for client in clients:
            client.sendall(b"fast")
            assert read_all(client) == "1"
    assert lanes(service) == {steered: ([3], 1000)}


def test_a_program_that_crashes_while_its_successor_starts(
    start: StartService, program: Program
) -> None:
    """New clients get the successor, although nobody has ordered a gate closed."""
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2", "time.sleep(1)\n" + GOOD)
    service.signal(signal.SIGHUP)
    wait.until(lambda: 2 in generations(service), "the successor")
    psutil.Process(generations(service)[1]["pid"]).kill()
    wait.until(lambda: 1 not in generations(service), "the crash")
    assert program.ask() == "2"


def test_a_rollback_steers_back(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    program.publish("2")
    with program.in_flight(60.0):
        service.wait_busy()
        with Hammer(program.port) as hammer:
            assert service.reload().code == 0
            hammer.wait_for("2")
            assert service.run("rollback", service.name).code == 0
            hammer.wait_for("1")
        assert hammer.failures == []
        assert lanes(service)[0] == ([1], 1000)
        assert service.run("stop", "--now", service.name).code == 0


def test_an_upgrade_in_place_carries_the_lanes(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=LANES)
    with Hammer(program.port) as hammer:
        for version in "23":
            program.publish(version)
            assert service.reload("--wait-drained").code == 0
            before = lanes(service)
            assert service.run("upgrade", service.name).code == 0, service.stderr
            assert lanes(service) == before
            hammer.wait_for(version)
    assert hammer.failures == []


def test_more_generations_than_lanes(start: StartService, program: Program) -> None:
    """They share a listener as without lanes."""
    options = (*LANES, "--max-draining", "8", "--drain-timeout", "60s")
    service = start(program.command, listen=program.listen, options=options)
    with contextlib.ExitStack() as stack, Hammer(program.port) as hammer:
        for version in range(2, 10):
            held = stack.enter_context(program.in_flight(60.0))
            held.settimeout(0.0)
            service.wait_busy(version - 1)
            program.publish(str(version))
            assert service.reload().code == 0, service.stderr
            hammer.wait_for(str(version))
        sharing = [numbers for numbers, _ in lanes(service).values() if len(numbers) > 1]
        assert len(lanes(service)) == MOST
        assert sharing
        assert generations(service)[9]["gate_by"] == "shim"
    assert hammer.failures == []
    assert service.run("stop", "--now", service.name).code == 0


def test_unix_sockets_have_none(folder: Path, start: StartService) -> None:
    program = Program(folder)
    path = folder / "web.sock"
    program.publish("1", f"accept(bound({str(path)!r}, socket.AF_UNIX))\n")
    service = start(program.command, listen=(str(path),), options=("--lanes", "auto"))
    (listener,) = service.status()["listeners"]
    why = f"Unix sockets have no lanes ({path}); listen on a TCP port instead, as in "
    assert listener["lanes"] == []
    assert listener["no_lanes"].startswith(why)
    shown = " ".join(service.run("status", service.name).stdout.split())
    assert f"no lanes: {why}" in shown


def test_lanes_that_cannot_be_had(folder: Path) -> None:
    path = folder / "web.sock"
    with Service(["true"], folder=folder, listen=(str(path),), options=LANES) as service:
        assert service.process.wait(30.0) == 2
    assert service.stderr == (
        f"sockact: test: --lanes require: Unix sockets have no lanes ({path}); listen on a TCP "
        "port instead, as in `sockact init --listen-lanes 3 --listen 127.0.0.1:8000 …`\n"
    )
