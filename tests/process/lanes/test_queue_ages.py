"""How long connections wait in the lanes of two generations."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import lane_opening
from sockact.handover.lanes import Lanes, Split
from sockact.handover.queue_ages import QueueAges, bounds
from sockact.kernel.sockets.listener import of_socket
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def opened() -> Iterator[Lanes]:
    """Two lanes of one address, which nobody accepts from."""
    first = socket.create_server(("127.0.0.1", 0))
    found = lane_opening.open_beside([of_socket("web", first, owned=True)], 2)
    assert found.count == 2, found.why_none
    with contextlib.ExitStack() as stack:
        for listener in found.listeners:
            stack.callback(listener.close)
        yield found


def connect(opened: Lanes, lane: int, stack: contextlib.ExitStack) -> None:
    opened.steer(Split(lane))
    address = opened.addresses[0].socket.getsockname()
    stack.enter_context(socket.create_connection(address))
    wait.until(lambda: opened.waiting(lane), "the connection in its lane")


def test_whose_connection_waits(opened: Lanes) -> None:
    ages = QueueAges(opened[0], opened[1])
    assert ages.look(1000.0) == (0.0, 0.0)
    with contextlib.ExitStack() as stack:
        connect(opened, 1, stack)
        before, mine = wait.until(lambda: _waited(ages), "a connection that has waited")
        assert before == 0.0
        connect(opened, 0, stack)
        # The other's has come after the last look.
        found = ages.look(1000.0)
        assert found is not None
        assert found[0] == 0.0
        # Without that look, it may be the older one, and the canary's the younger one.
        most, least = QueueAges(opened[0], opened[1]).look(1000.0) or (0.0, 9.0)
        assert most >= mine
        assert most > least
        opened[1][0].socket.accept()[0].close()
        accepted = ages.look(1000.0)
        assert accepted is not None
        assert accepted[1] == 0.0


def _waited(ages: QueueAges) -> tuple[float, float] | None:
    found = ages.look(1000.0)
    return found if found and found[1] > 0.05 else None


@pytest.mark.parametrize(
    ("ages", "before", "mine", "found"),
    [
        ([], 1, 1, (0.0, 0.0)),
        ([3.0], 1, 0, (3.0, 0.0)),
        ([3.0], 0, 1, (0.0, 3.0)),
        ([3.0, 1.0, 2.0], 1, 2, (3.0, 2.0)),
        ([3.0, 1.0], 0, 5, (0.0, 3.0)),
    ],
)
def test_what_is_certain(
    ages: list[float], before: int, mine: int, found: tuple[float, float]
) -> None:
    assert bounds(ages, before, mine) == found


def test_datagrams_do_not_wait_to_be_accepted() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        listener = of_socket("web", sock, owned=True)
        assert QueueAges([listener], [listener]).look(0.0) is None
