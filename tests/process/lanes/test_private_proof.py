"""A release is proven on its real address before any client reaches it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.kernel.sockets.listener import Listener
from sockact.supervisor.probes.private_runs import target
from tests.support import wait
from tests.support.program import Hammer, Program

if TYPE_CHECKING:
    from tests.conftest import StartService

# Answers raw clients with VERSION, and HTTP clients with STATUS; counts nothing.
HTTP = """
def serve(connection):
    with connection:
        if connection.recv(1000).startswith(b"GET"):
            connection.sendall(b"HTTP/1.0 " + STATUS + b"\\r\\n\\r\\n")
        else:
            connection.sendall(VERSION)
"""
ANSWERS = HTTP + "STATUS = b'200 OK'\naccept(bound())\n"
BROKEN = HTTP + "STATUS = b'500 Broken'\naccept(bound())\n"
TWO_FAMILIES = (
    HTTP + "STATUS = b'200 OK'\n"
    "listener = socket.socket(socket.AF_INET6)\n"
    "listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)\n"
    "listener.bind(('::', PORT))\nlistener.listen()\naccept(listener)\n"
)


def url(program: Program, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{program.port}/health"


@pytest.mark.parametrize("kind", ["ready", "probe", "tcp"])
def test_a_good_release_gets_clients_only_after_its_proof(
    start: StartService, program: Program, kind: str
) -> None:
    program.publish("1", ANSWERS)
    probe = ("--trial", "1s", "--probe", "tcp" if kind == "tcp" else url(program))
    options = ("--ready", url(program)) if kind == "ready" else probe
    lanes = ("--lanes", "require")
    service = start(program.command, listen=program.listen, options=(*lanes, *options))
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        program.publish("2", ANSWERS)
        assert service.reload().code == 0, service.stderr
        hammer.wait_for("2")
    assert hammer.failures == []


@pytest.mark.parametrize("kind", ["ready", "probe"])
def test_no_client_sees_a_broken_release(start: StartService, program: Program, kind: str) -> None:
    program.publish("1", ANSWERS)
    probe = ("--trial", "2s", "--probe", url(program))
    ready = ("--ready", url(program), "--start-timeout", "2s")
    options = ("--lanes", "require", *(ready if kind == "ready" else probe))
    service = start(program.command, listen=program.listen, options=options)
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        program.publish("2", BROKEN)
        outcome = service.reload()
        assert outcome.code == 1
        assert "got status 500" in outcome.stderr
        service.wait_drained()
        hammer.wait_for("1")
    assert hammer.failures == []
    assert set(hammer.answers) == {"1"}
    assert service.states() == {1: "running"}


def test_the_predecessor_serves_during_the_trial(start: StartService, program: Program) -> None:
    program.publish("1", ANSWERS)
    options = ("--lanes", "require", "--trial", "60s", "--probe", url(program))
    service = start(program.command, listen=program.listen, options=options)
    program.publish("2", ANSWERS)
    service.signal(signal.SIGHUP)
    wait.until(lambda: service.states() == {1: "running", 2: "running"}, "the trial")
    assert {program.ask() for _ in range(50)} == {"1"}
    (listener,) = service.status()["listeners"]
    assert [one["share"] for one in listener["lanes"]] == [1000, 0]
    # A rollback ends the trial, and nobody has noticed anything.
    assert service.run("rollback", service.name).code == 0
    service.wait_drained()
    assert service.states() == {1: "running"}
    assert program.ask() == "1"


def test_the_predecessor_dies_during_the_trial(start: StartService, program: Program) -> None:
    program.publish("1", ANSWERS)
    options = ("--lanes", "require", "--trial", "3s", "--probe", url(program))
    service = start(program.command, listen=program.listen, options=options)
    program.publish("2", ANSWERS)
    service.signal(signal.SIGHUP)
    wait.until(lambda: service.states() == {1: "running", 2: "running"}, "the trial")
    first = service.status()["generations"][0]["pid"]
    os.kill(first, signal.SIGKILL)
    wait.until(lambda: 1 not in service.states(), "its end")
    assert program.ask() == "2"
    wait.until(lambda: service.status()["state"] == "serving", "the end of the trial")
    assert service.states() == {2: "running"}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_both_families(start: StartService, program: Program, host: str) -> None:
    program.publish("1", TWO_FAMILIES)
    options = ("--lanes", "require", "--ready", url(program, host))
    service = start(program.command, listen=(f"[::]:{program.port}",), options=options)
    with Hammer(program.port) as hammer:
        hammer.wait_for("1")
        program.publish("2", TWO_FAMILIES.replace("200 OK", "500 No"))
        assert service.reload("--timeout", "2s").code != 0
        program.publish("3", TWO_FAMILIES)
        assert service.run("rollback", service.name).code == 0
        assert service.reload().code == 0, service.stderr
        hammer.wait_for("3")
    assert set(hammer.answers) == {"1", "3"}
    assert hammer.failures == []


def listener(host: str, port: int) -> Listener:
    family = Family.INET6 if ":" in host else Family.INET
    return Listener("web", None, Address(family, Kind.STREAM, host, port), 0, owned=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        ("http://127.0.0.1:81/x", (1, "127.0.0.1")),
        ("http://127.0.0.1/", (0, "127.0.0.1")),
        ("http://LOCALHOST:81?x=/", (1, "127.0.0.1")),
        ("http://[::1]:82/", (2, "::1")),
        # Another port, another machine, a name that only a resolver knows.
        ("http://127.0.0.1:83/", None),
        ("http://127.0.0.2:81/", None),
        ("http://example.org:80/", None),
        ("https://127.0.0.1:81/", None),
        ("exec:curl http://127.0.0.1:81/", None),
        ("http://127.0.0.1:81:81/", None),
        # More than one address.
        ("tcp", None),
        ("interest", None),
        ("", None),
    ],
)
def test_which_probes_can_be_private(probe: str, found: tuple[int, str] | None) -> None:
    there = [listener("0.0.0.0", 80), listener("127.0.0.1", 81), listener("::1", 82)]
    assert target(probe, there) == found
