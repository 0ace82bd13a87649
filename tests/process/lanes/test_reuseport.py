"""The kernel steers clients as the program of a group says: TCP and UDP, IPv4, IPv6 and both."""

from __future__ import annotations

import collections
import os
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.kernel.sockets import reuseport
from sockact.kernel.sockets.reuseport import WHOLE, Steering

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 4000
FAMILIES = {
    "ipv4": (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    "ipv6": (socket.AF_INET6, "::1", "::1"),
    "ipv4 at both": (socket.AF_INET6, "::", "127.0.0.1"),
    "ipv6 at both": (socket.AF_INET6, "::", "::1"),
}


class Group:
    """Three sockets at one address, and clients of it."""

    def __init__(self, family: int, host: str, kind: int = socket.SOCK_STREAM) -> None:
        first = socket.socket(family, kind)
        if family == socket.AF_INET6:
            first.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        first.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            first.listen(4096)
        self.kind = kind
        self.port = first.getsockname()[1]
        reuseport.share(first, os.geteuid())
        reuseport.begin(first)
        self.members = [first, *(reuseport.join(first, 4096) for _ in range(2))]
        for member in self.members:
            member.setblocking(False)

    def close(self) -> None:
        for member in self.members:
            member.close()

    def steer(self, steering: Steering) -> None:
        reuseport.attach(self.members[0], steering)

    def connect(self, target: str, source: str = "", port: int = 0) -> int:
        """The member that one new client reaches."""
        with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, self.kind) as one:
            if source:
                one.bind((source, port))
            one.connect((target, self.port))
            if self.kind == socket.SOCK_DGRAM:
                one.send(b"x")
            return self.reached()

    def reached(self) -> int:
        for number, member in enumerate(self.members):
            try:
                if self.kind == socket.SOCK_DGRAM:
                    member.recv(1)
                else:
                    member.accept()[0].close()
            except BlockingIOError:
                continue
            return number
        raise AssertionError("no member was reached")


@pytest.fixture(params=FAMILIES)
def reached(request: pytest.FixtureRequest) -> Iterator[tuple[Group, str]]:
    family, host, target = FAMILIES[request.param]
    group = Group(family, host)
    yield group, target
    group.close()


@pytest.fixture
def group() -> Iterator[Group]:
    found = Group(socket.AF_INET, "127.0.0.1")
    yield found
    found.close()


def test_all_clients_reach_one_member(reached: tuple[Group, str]) -> None:
    group, target = reached
    for number in (0, 2, 1):
        group.steer(Steering(number))
        assert {group.connect(target) for _ in range(50)} == {number}


@pytest.mark.parametrize("per_mille", [0, 50, 300, 1000])
def test_share_of_connections(reached: tuple[Group, str], per_mille: int) -> None:
    group, target = reached
    group.steer(Steering(0, ((2, per_mille),)))
    found = collections.Counter(group.connect(target) for _ in range(CONNECTIONS))
    assert found[1] == 0
    # Five standard deviations of a binomial distribution.
    spread = 5 * (CONNECTIONS * per_mille / WHOLE * (1 - per_mille / WHOLE)) ** 0.5
    assert abs(found[2] - CONNECTIONS * per_mille / WHOLE) <= spread


def test_several_shares(group: Group) -> None:
    group.steer(Steering(0, ((1, 200), (2, 300))))
    found = collections.Counter(group.connect("127.0.0.1") for _ in range(CONNECTIONS))
    for number, share in ((0, 0.5), (1, 0.2), (2, 0.3)):
        assert abs(found[number] - share * CONNECTIONS) < 5 * (CONNECTIONS * share) ** 0.5


def test_no_client_sees_two_members(group: Group) -> None:
    group.steer(Steering(0, ((1, 300),), by_client=True))
    clients = [f"127.0.{number // 50}.{number % 50 + 1}" for number in range(400)]
    seen = {client: {group.connect("127.0.0.1", client) for _ in range(4)} for client in clients}
    assert {len(found) for found in seen.values()} == {1}
    chosen = sum(found == {1} for found in seen.values())
    assert abs(chosen - 120) < 5 * (400 * 0.3 * 0.7) ** 0.5


def test_a_larger_share_keeps_its_clients(group: Group) -> None:
    clients = [f"127.0.0.{number}" for number in range(1, 201)]
    chosen = []
    for per_mille in (100, 500):
        group.steer(Steering(0, ((1, per_mille),), by_client=True, salt=7))
        chosen.append({client for client in clients if group.connect("127.0.0.1", client)})
    assert chosen[0] < chosen[1]
    group.steer(Steering(0, ((1, 100),), by_client=True, salt=8))
    assert {client for client in clients if group.connect("127.0.0.1", client)} != chosen[0]


def test_clients_of_ipv6_are_told_apart() -> None:
    group = Group(socket.AF_INET6, "::")
    group.steer(Steering(0, ((1, 500),), by_client=True))
    # Only ::1 is an address of the loopback interface everywhere: IPv4 clients beside it.
    clients = [f"127.0.0.{number}" for number in range(1, 101)]
    chosen = sum(group.connect("127.0.0.1", client) for client in clients)
    assert 25 < chosen < 75
    assert len({group.connect("::1") for _ in range(20)}) == 1
    group.close()


def test_only_the_private_source_gets_through(reached: tuple[Group, str]) -> None:
    group, target = reached
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((target, 0))
        port = probe.getsockname()[1]
        group.steer(Steering(0, private=((target, port, 2),)))
        probe.connect((target, group.port))
        assert group.reached() == 2
    assert {group.connect(target) for _ in range(50)} == {0}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_stranger_with_the_private_port(host: str) -> None:
    """A remote client may choose its port, but not the address of the probe."""
    group = Group(socket.AF_INET6, "::")
    group.steer(Steering(0, private=((host, 40404, 2), ("127.0.0.2", 40404, 2))))
    assert group.connect("127.0.0.1", "127.0.0.3", 40404) == 0
    group.close()


def test_datagrams_of_one_flow_stay_together() -> None:
    group = Group(socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM)
    group.steer(Steering(0, ((1, 500),)))
    chosen = collections.Counter[int]()
    for _ in range(200):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", group.port))
            seen = set()
            for _ in range(3):
                client.send(b"x")
                seen.add(group.reached())
            assert len(seen) == 1
            chosen.update(seen)
    assert 60 < chosen[1] < 140
    group.close()


def test_nothing_is_lost_when_a_socket_that_listens_gets_a_group() -> None:
    """A service that is running keeps its queue, and stays the only member that is reached."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as first:
        address = first.getsockname()
        waiting = [socket.create_connection(address) for _ in range(20)]
        reuseport.share(first, os.geteuid())
        reuseport.begin(first)
        with reuseport.join(first, 64) as second:
            second.setblocking(False)
            waiting += [socket.create_connection(address) for _ in range(20)]
            for client in waiting:
                first.accept()[0].close()
                client.close()
            with pytest.raises(BlockingIOError):
                second.accept()
