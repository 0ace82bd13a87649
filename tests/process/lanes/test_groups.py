"""Which sockets are the lanes of one address, and which can have none."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from sockact.core.lanes import missing
from sockact.handover import lane_opening
from sockact.kernel.sockets import multicast, reuseport
from sockact.kernel.sockets.listener import of_socket
from tests.process.lanes.test_abandoned import run
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.kernel.sockets.listener import Listener

GROUP = "239.255.7.7"
JOIN = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
JOIN6 = socket.inet_pton(socket.AF_INET6, "ff02::7:7") + struct.pack("=I", 1)


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def udp(stack: contextlib.ExitStack, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
    found.bind((host, 0))
    return found


def several(stack: contextlib.ExitStack, count: int) -> list[Listener]:
    """As systemd opens them for equal lines, with ReusePort=yes."""
    port = wait.free_port()
    found = []
    for _ in range(count):
        one = stack.enter_context(socket.socket())
        for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        one.bind(("127.0.0.1", port))
        one.listen(64)
        found.append(of_socket("web", one, owned=False))
    return found


def test_who_receives_multicast(stack: contextlib.ExitStack) -> None:
    found = udp(stack, "0.0.0.0")
    assert not multicast.receives(found)
    found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, JOIN)
    assert multicast.receives(found)
    assert not multicast.receives(udp(stack, "0.0.0.0")), "another has joined"
    found.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, JOIN)
    assert not multicast.receives(found)
    assert multicast.receives(udp(stack, GROUP))
    assert not multicast.receives(stack.enter_context(socket.create_server(("127.0.0.1", 0))))


def test_who_receives_multicast_of_ipv6(stack: contextlib.ExitStack) -> None:
    found = udp(stack, "::")
    assert not multicast.receives(found)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, JOIN6)
    assert multicast.receives(found)
    both = udp(stack, "::")
    both.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, JOIN)
    assert multicast.receives(both), "an IPv4 group"


def test_a_member_of_a_group_has_no_lanes(stack: contextlib.ExitStack) -> None:
    found = udp(stack, "0.0.0.0")
    found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, JOIN)
    lanes = lane_opening.open_beside([of_socket("dns", found, owned=True)], 3)
    assert lanes.count == 1
    where = f"udp:0.0.0.0:{found.getsockname()[1]}"
    assert lanes.why_none.startswith(f"{where} receives multicast")


JOINED = """
import os, socket, sys
sys.path.insert(0, {root!r})
from sockact.core.lifecycle.model import Generation, Policy, Service, State
from sockact.handover.lane_opening import open_beside
from sockact.kernel.sockets.listener import of_socket
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.lending import Lending

first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
first.bind(("0.0.0.0", 5353))
lanes = open_beside([of_socket("dns", first, owned=True)], 3)
found = (Generation(1, State.RUNNING, 0.0), Generation(2, State.PENDING, 0.0))
service = Service(Policy(), generations=found)
def say(_number, text): print("told:", text)
lending = Lending(Loop(), lanes, lambda: service, say, lambda _: None)
lending.lend(1, 0)
if {migrate!r} == "1":
    first.setsockopt(0, socket.IP_ADD_MEMBERSHIP, {join!r})
lending.lend(2, None)
print(lending.lane_of(2))
"""


def test_a_program_that_joins_a_group_shares_its_listener() -> None:
    program = JOINED.replace("{join!r}", repr(JOIN))
    told = "told: shares a listener: the program has joined a multicast group"
    assert run("1", program) == [told, "0"]
    assert run("0", program) == ["1"]


@pytest.mark.parametrize("devices", [(b"lo", b"lo"), (b"lo", b""), (b"", b"")])
def test_sockets_of_different_devices_are_no_lanes_of_one_another(
    stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch, devices: tuple[bytes, bytes]
) -> None:
    pair = several(stack, 2)
    names = {one.socket: device for one, device in zip(pair, devices, strict=True)}
    monkeypatch.setattr(reuseport, "device", names.__getitem__)
    found = lane_opening.passed(pair, wanted=True)
    assert (found is not None and found.count == 2) is (devices[0] == devices[1])


def test_a_further_lane_is_bound_to_the_same_device(stack: contextlib.ExitStack) -> None:
    first = stack.enter_context(socket.socket())
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    except PermissionError:
        pytest.skip("no socket may be bound to a device here")
    first.bind(("127.0.0.1", 0))
    first.listen()
    lanes = lane_opening.open_beside([of_socket("web", first, owned=False)], 3)
    for one in lanes.listeners[1:]:
        stack.callback(one.close)
    assert [reuseport.device(one.socket) for one in lanes.listeners] == [b"lo"] * 3


def test_lines_that_differ_in_number(stack: contextlib.ExitStack) -> None:
    many, one = several(stack, 2), several(stack, 1)
    found = lane_opening.passed([*many, *one], wanted=True)
    assert found is not None
    assert (found.count, len(found.addresses)) == (1, 2)
    assert found.why_none == missing.single(one[0].address)
