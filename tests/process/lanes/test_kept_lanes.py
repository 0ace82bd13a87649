"""Lanes outlive a supervisor that is killed, and so does what waits in them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.core.lanes.lending import MOST
from tests.process.upgrade.restarts import LISTENER, Restarts, told
from tests.support import wait
from tests.support.program import Program, connect, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.support.service import Service

LANES = ("--lanes", "require")
LANE = "sockact-lane-"


@pytest.fixture
def restarts(start: StartService) -> Restarts:
    return Restarts(start)


def stored(service: Service) -> list[str]:
    """What systemd keeps of the listeners."""
    told(service, "FDSTORE")
    return sorted(name for name in service.notify.store if name.startswith((LISTENER, LANE)))


def steered(service: Service) -> int:
    (listener,) = service.status()["listeners"]
    (lane,) = (one["number"] for one in listener["lanes"] if one["share"])
    return int(lane)


def test_clients_wait_in_the_lane_that_was_steered_to(restarts: Restarts, program: Program) -> None:
    service = restarts.first(program, options=LANES)
    assert service.reload("--wait-drained").code == 0
    assert steered(service) == 1
    before = stored(service)
    assert len(before) == MOST
    restarts.kill(service)
    clients = [connect(("127.0.0.1", program.port)) for _ in range(5)]
    again = restarts.again(service, program, *program.listen, options=LANES)
    assert steered(again) == 1
    for client in clients:
        with client:
            client.sendall(b"fast")
            assert read_all(client) == "1"
    assert stored(again) == before
    assert again.reload("--wait-drained").code == 0
    assert program.ask() == "1"
    assert again.stop() == 0


def test_without_clients_the_first_lane_is_lent(restarts: Restarts, program: Program) -> None:
    service = restarts.first(program, options=LANES)
    assert service.reload("--wait-drained").code == 0
    restarts.kill(service)
    again = restarts.again(service, program, *program.listen, options=LANES)
    assert steered(again) == 0
    assert program.ask() == "1"


@pytest.mark.parametrize("lanes", ["off", "auto"])
def test_lanes_that_are_not_wanted_any_more(
    restarts: Restarts, program: Program, lanes: str
) -> None:
    """All addresses, or lanes at all."""
    service = restarts.first(program, options=LANES)
    before = stored(service)
    restarts.kill(service)
    address = program.listen[0]
    if lanes == "auto":
        address = f"0.0.0.0:{program.port}"
    again = restarts.again(service, program, address, options=("--lanes", lanes))
    assert program.ask() == "1"
    now = stored(again)
    assert len(now) == (1 if lanes == "off" else MOST)
    assert not set(before) & set(now) - {before[-1]}


@contextlib.contextmanager
def reloaded(
    restarts: Restarts, program: Program
) -> Iterator[tuple[Service, tuple[tuple[str, int], ...]]]:
    """A service that was reloaded, and the listener that systemd has passed to it."""
    before = restarts.first(program)
    restarts.kill(before)
    while before.notify.store:
        os.close(before.notify.store.popitem()[1])
    with socket.create_server(("127.0.0.1", program.port), backlog=64) as passed:
        web = (("web", passed.fileno()),)
        service = restarts.again(before, program, options=LANES, passed=web)
        assert service.reload("--wait-drained").code == 0
        assert steered(service) == 1
        yield service, web


def test_lanes_beside_a_listener_that_systemd_has_passed(
    restarts: Restarts, program: Program
) -> None:
    with reloaded(restarts, program) as (service, web):
        assert len(stored(service)) == MOST - 1
        restarts.kill(service)
        with connect(("127.0.0.1", program.port)) as client:
            again = restarts.again(service, program, options=LANES, passed=web)
            client.sendall(b"fast")
            assert read_all(client) == "1"
        assert steered(again) == 1
        assert again.stop() == 0


def test_clients_wait_for_the_restart_of_a_socket_activated_service(
    restarts: Restarts, program: Program
) -> None:
    """While the service stops they are steered to systemd's own listener, which stays."""
    with reloaded(restarts, program) as (service, web):
        with program.in_flight(1.0) as busy:
            service.wait_busy()
            service.signal(signal.SIGTERM)
            wait.until(lambda: service.status()["state"] == "stopping", "the stop")
            with connect(("127.0.0.1", program.port)) as client:
                client.sendall(b"fast")
                assert read_all(busy) == "1"
                assert service.process.wait(30.0) == 0
                program.publish("2")
                again = restarts.again(service, program, options=LANES, passed=web)
                assert read_all(client) == "2"
        assert again.stop() == 0
