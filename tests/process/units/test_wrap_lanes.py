"""Wrapping a program so that systemd opens the lanes of its address beside it."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind
from sockact.handover import lane_opening
from sockact.handover.lanes import Split
from sockact.kernel.sockets import reuseport
from sockact.kernel.sockets.listener import accept_queue, of_socket
from sockact.kernel.sockets.reuseport import Steering
from sockact.units import listening_sockets
from sockact.units.listening_sockets import Bound
from sockact.units.wrap import socket_unit
from sockact.units.wrap.service_sockets import ServiceSockets
from tests.process.units.test_service_sockets import IPV4, NOBODY, TCP, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.kernel.sockets.listener import Listener

HOST = "127.0.0.1"
COUNT = 3
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may share another's socket")


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def lines(stack: contextlib.ExitStack, port: int, count: int = COUNT) -> list[Listener]:
    """What systemd opens for so many equal lines with ReusePort=yes."""
    found: list[Listener] = []
    for _ in range(count):
        one = stack.enter_context(socket.socket())
        for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        one.bind((HOST, port or (found[0].address.port if found else 0)))
        one.listen(64)
        found.append(of_socket("web", one, owned=False))
    return found


def waiting(listeners: list[Listener]) -> list[int]:
    return [(accept_queue(one) or (0, 0))[0] for one in listeners]


def test_no_client_is_lost_to_a_lane_that_nobody_has(stack: contextlib.ExitStack) -> None:
    """When the old program's socket closes, the last of systemd's gets its number."""
    with serving(IPV4, TCP, HOST) as (port, found), ServiceSockets([found]) as old:
        old.share()
        old.hold_connections()
        opened = lines(stack, port)
        old.keep_connections()
        assert old.pass_connections()
        clients = [stack.enter_context(socket.create_connection((HOST, port))) for _ in range(9)]
        assert waiting(opened) == [9, 0, 0]
    clients += [stack.enter_context(socket.create_connection((HOST, port))) for _ in range(9)]
    assert waiting(opened) == [18, 0, 0]
    lanes = lane_opening.passed(opened, wanted=True)
    assert lanes is not None
    assert (lanes.count, lanes.steered, lanes.lost) == (COUNT, 0, None)
    assert waiting(opened) == [18, 0, 0]
    for lane in range(COUNT):
        lanes.steer(Split(lane))
        before = waiting(opened)[lane]
        stack.enter_context(socket.create_connection((HOST, port)))
        assert waiting(opened)[lane] == before + 1


def test_clients_that_came_before_the_first_start_are_told_of(stack: contextlib.ExitStack) -> None:
    """The kernel has spread them; the lane with most of them is the first to be lent."""
    opened = lines(stack, 0)
    address = opened[0].socket.getsockname()
    reuseport.attach(opened[0].socket, Steering(1))
    for _ in range(3):
        stack.enter_context(socket.create_connection(address))
    reuseport.attach(opened[0].socket, Steering(2))
    stack.enter_context(socket.create_connection(address))
    lanes = lane_opening.passed(opened, wanted=True)
    assert lanes is not None
    assert lanes.steered == 1
    assert lanes.lost is not None
    assert lanes.lost.count == 1
    assert sum(waiting(opened)) == (4 if reuseport.migrates() else 3)


@pytest.mark.parametrize("count", [1, COUNT])
def test_an_address_with_lanes_stays_shared(stack: contextlib.ExitStack, count: int) -> None:
    opened = lines(stack, 0, count)
    address = opened[0].socket.getsockname()
    inodes = {one.inode for one in opened}
    reuseport.attach(opened[0].socket, Steering(count - 1))
    found = [x for x in listening_sockets.find_bound([os.getpid()]) if x.inode in inodes]
    with ServiceSockets(found) as own:
        own.make_exclusive()
    shared = [one.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for one in opened]
    assert shared == [int(count > 1)] * count
    for _ in range(9):
        stack.enter_context(socket.create_connection(address))
    assert waiting(opened)[-1] == 9


WEB = Bound(Address(Family.INET, Kind.STREAM, HOST, 80), 1, 1, 3)
DNS = Bound(Address(Family.INET, Kind.DATAGRAM, HOST, 53), 2, 1, 4)


@pytest.mark.parametrize(
    ("bound", "what"),
    [([DNS], "a UDP socket at udp:127.0.0.1:53"), ([WEB, WEB], "several sockets at 127.0.0.1:80")],
)
def test_programs_beside_which_there_can_be_no_lanes(bound: list[Bound], what: str) -> None:
    with pytest.raises(OperatorError, match=what) as raised:
        socket_unit.check_lanes(bound, COUNT)
    assert "--listen-lanes 0" in str(raised.value)
    socket_unit.check_lanes(bound, 1)
    socket_unit.check_lanes([WEB], COUNT)


def test_what_systemd_will_show() -> None:
    assert socket_unit.properties([WEB.address, DNS.address], 2) == {
        "ActiveState": "inactive",
        "Listen": "\n".join(["127.0.0.1:80 (Stream)"] * 2 + ["127.0.0.1:53 (Datagram)"] * 2),
        "ReusePort": "yes",
    }
    assert socket_unit.properties([WEB.address], 1)["ReusePort"] == "no"


def test_the_old_sockets_are_closed_in_between(stack: contextlib.ExitStack) -> None:
    """The service may not start, and what was changed on them has to be undone."""
    with serving(IPV4, TCP, HOST, owner=NOBODY) as (port, found):
        old = stack.enter_context(ServiceSockets([found]))
        old.share()
        old.close()
        old.regain()
        old.unshare()
        with listening_sockets.duplicate(found) as again:
            assert again.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
            assert os.fstat(again.fileno()).st_uid == NOBODY
        old.close()
    with pytest.raises(ProcessLookupError):
        old.regain()
    with socket.socket() as free:
        free.bind((HOST, port))
