"""A port for IPv4 and IPv6, on one socket or on two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# As asyncio.start_server(host=None), aiohttp, Tornado and nginx do by default.
TWO_SOCKETS = """
def only_ipv6():
    found = socket.socket(socket.AF_INET6)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    found.bind(("::", PORT))
    found.listen()
    return found
a = bound(("0.0.0.0", PORT))
b = only_ipv6()
threading.Thread(target=accept, args=(a,)).start()
accept(b)
"""
# As Go, Node and Java do.
ONE_SOCKET = """
found = socket.socket(socket.AF_INET6)
found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
found.bind((HOST, PORT))
found.listen()
accept(found)
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def answers(program: Program) -> tuple[str, str]:
    return ask(("127.0.0.1", program.port)), ask(("::1", program.port))


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
@pytest.mark.parametrize("first", ["0.0.0.0:{}", "[::]:{}"])
def test_two_sockets(start: StartService, program: Program, first: str, adopt: str) -> None:
    program.publish("1", TWO_SOCKETS)
    both = {"0.0.0.0:{}", "[::]:{}"}
    listen = tuple(text.format(program.port) for text in (first, *(both - {first})))
    service = start(program.command, listen=listen, options=("--adopt", adopt))
    assert answers(program) == ("1", "1")
    program.publish("2", TWO_SOCKETS)
    assert service.reload("--wait-drained").code == 0
    assert answers(program) == ("2", "2")


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
@pytest.mark.parametrize("host", ["::", "::ffff:127.0.0.1"])
def test_ipv4_listener_for_a_socket_of_both_families(
    start: StartService, program: Program, host: str, adopt: str
) -> None:
    program.publish("1", ONE_SOCKET.replace("HOST", repr(host)))
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    assert program.ask() == "1"


def test_port_alone_is_for_both_families(start: StartService, program: Program) -> None:
    program.publish("1", ONE_SOCKET.replace("HOST", "'::'"))
    start(program.command, listen=(str(program.port),))
    assert answers(program) == ("1", "1")
