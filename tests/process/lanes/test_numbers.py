"""The numbers that the kernel gives the lanes are known, whatever was shut down meanwhile."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import lane_opening
from sockact.handover.abandoned import steer_to_clients
from sockact.handover.lane_opening import open_beside
from sockact.handover.lanes import Split
from sockact.kernel.sockets import reuseport
from sockact.kernel.sockets.listener import of_socket
from sockact.supervisor.gates import listener_watch
from sockact.supervisor.gates.listener_watch import ListenerWatch
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.handover.lanes import Lanes
    from sockact.supervisor.base.loop import Loop

COUNT = 5


@pytest.fixture
def opened() -> Iterator[Lanes]:
    with socket.create_server(("127.0.0.1", wait.free_port()), backlog=64) as first:
        found = open_beside([of_socket("web", first, owned=True)], COUNT)
        yield found
        for listener in found.listeners[1:]:
            listener.close()


def reached(opened: Lanes) -> int:
    """The lane that a new client reaches, which is emptied."""
    with socket.create_connection(opened.addresses[0].socket.getsockname()):
        (lane,) = (lane for lane in range(COUNT) if opened.waiting(lane))
        opened[lane][0].socket.accept()[0].close()
    return lane


def all_reached(opened: Lanes) -> list[int]:
    found = []
    for lane in range(COUNT):
        opened.steer(Split(lane))
        found.append(reached(opened))
    return found


def shut(opened: Lanes, lane: int) -> None:
    opened[lane][0].socket.shutdown(socket.SHUT_RD)
    opened.stopped(opened[lane][0])


def listen(opened: Lanes, lane: int) -> None:
    opened[lane][0].socket.listen(64)
    opened.listens_again(opened[lane][0])


@pytest.mark.parametrize("order", [[1], [0, 3], [3, 0, 4], [4, 3, 2, 1]])
def test_lanes_that_were_shut_down(opened: Lanes, order: list[int]) -> None:
    opened.steer(Split(2))
    for lane in order:
        shut(opened, lane)
        if 2 not in order:
            assert reached(opened) == 2
    for lane in reversed(order):
        listen(opened, lane)
    assert all_reached(opened) == [*range(COUNT)]


def test_another_version_takes_over(opened: Lanes) -> None:
    shut(opened, 0)
    listen(opened, 0)
    after = lane_opening.group(opened.listeners, opened.steered, opened.orders())
    assert all_reached(after) == [*range(COUNT)]


def test_nobody_knows_the_numbers(opened: Lanes) -> None:
    """After a kill of the supervisor: clients stay, and the numbers are made anew."""
    for lane in (1, 0):
        shut(opened, lane)
        listen(opened, lane)
    opened.steer(Split(3))
    address = opened.addresses[0].socket.getsockname()
    clients = [socket.create_connection(address) for _ in range(3)]
    after = lane_opening.group(opened.listeners, 0)
    steer_to_clients(after)
    assert after.steered == 3
    assert after.waiting(3) == 3
    for client in clients:
        after[3][0].socket.accept()[0].close()
        client.close()
    assert all_reached(after) == [*range(COUNT)]


def test_a_failure_is_not_remembered_as_done(
    opened: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with monkeypatch.context() as patched:
        patched.setattr(reuseport, "attach", fail)
        with pytest.raises(OSError, match="memory"):
            opened.steer(Split(2))
    assert opened.steered == 0


@pytest.fixture
def watch(opened: Lanes, loop: Loop) -> Iterator[ListenerWatch]:
    def steer() -> None:
        opened.steer(opened.split)
        loop.stop()

    found = ListenerWatch(
        loop,
        opened.listeners,
        lambda _: True,
        lambda _: None,
        opened.stopped,
        opened.listens_again,
        steer,
    )
    yield found
    found.close()


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [2, 0, 1], [4, 0], [0, 4, 1, 3]])
def test_programs_shut_several_down_at_once(
    opened: Lanes, watch: ListenerWatch, order: list[int]
) -> None:
    """The numbers of the others depend on the order, which is still known."""
    for lane in order:
        opened[lane][0].socket.shutdown(socket.SHUT_RD)
    assert watch.repair_all() == ""
    assert all_reached(opened) == [*range(COUNT)]


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_failure_to_steer_after_a_repair_is_made_up_for(
    opened: Lanes,
    watch: ListenerWatch,
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
) -> None:
    """The last number has become that of the lane that was shut down."""
    monkeypatch.setattr(listener_watch, "_AGAIN", 0.0)
    left, attach = [failures], reuseport.attach

    def fail(member: socket.socket, steering: reuseport.Steering) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(12, "Cannot allocate memory")
        attach(member, steering)

    opened.steer(Split(COUNT - 1))
    monkeypatch.setattr(reuseport, "attach", fail)
    opened[1][0].socket.shutdown(socket.SHUT_RD)
    assert watch.repair_all() == ""
    loop.run()
    assert reached(opened) == COUNT - 1
    assert all_reached(opened) == [*range(COUNT)]


def test_nothing_waits_in_a_lane_that_was_shut_down(opened: Lanes) -> None:
    """It can be read for ever: otherwise its generation would never get its stop signal."""
    opened.steer(Split(2))
    with socket.create_connection(opened.addresses[0].socket.getsockname()):
        assert not opened.is_empty(2)
        opened[2][0].socket.shutdown(socket.SHUT_RD)
        assert opened.is_empty(2)


@pytest.mark.parametrize("deaf", [[0], [3], [*range(COUNT)]])
def test_lanes_that_did_not_listen_at_a_kill(opened: Lanes, deaf: list[int]) -> None:
    """The supervisor was killed between shutdown() and listen()."""
    for lane in deaf:
        opened[lane][0].socket.shutdown(socket.SHUT_RD)
    after = lane_opening.group(opened.listeners, 0)
    steer_to_clients(after)
    assert after.lost is None
    assert all_reached(after) == [*range(COUNT)]
