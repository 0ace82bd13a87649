"""Whether an address is listened on, by the kernel's tables, with real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.units import listening_sockets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _is_taken(address: Address) -> bool:
    free = listening_sockets.find_free([address])
    assert listening_sockets.is_in_use(address) is not bool(free)
    return not free


@pytest.mark.parametrize(
    ("family", "number", "host"),
    [
        (Family.INET, socket.AF_INET, "127.0.0.1"),
        (Family.INET, socket.AF_INET, "0.0.0.0"),
        (Family.INET6, socket.AF_INET6, "::1"),
    ],
)
@pytest.mark.parametrize("kind", Kind)
def test_ports(family: Family, number: int, host: str, kind: Kind) -> None:
    types = {Kind.STREAM: socket.SOCK_STREAM, Kind.DATAGRAM: socket.SOCK_DGRAM}
    with socket.socket(number, types[kind]) as listener:
        listener.bind((host, 0))
        address = Address(family, kind, host, listener.getsockname()[1])
        if kind is Kind.STREAM:
            assert not _is_taken(address)
            listener.listen()
        assert _is_taken(address)
    assert not _is_taken(address)


def test_socket_files(folder: Path) -> None:
    path = str(folder / "a b.sock")
    address = Address(Family.UNIX, Kind.STREAM, path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert not _is_taken(address)
        listener.listen()
        assert _is_taken(address)
    assert not _is_taken(address)


def test_abstract_names() -> None:
    address = Address(Family.UNIX, Kind.STREAM, "@sockact-test-listening")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0sockact-test-listening")
        listener.listen()
        assert _is_taken(address)
    assert not _is_taken(address)


def test_several_addresses_and_processes(folder: Path) -> None:
    """Of one look at the tables, whatever family and process they are of."""
    addresses = [
        *(Address(Family.INET, Kind.STREAM, host, 0) for host in ("127.0.0.1", "127.0.0.2")),
        Address(Family.INET6, Kind.STREAM, "::1", 0),
        Address(Family.INET, Kind.DATAGRAM, "127.0.0.1", 0),
        Address(Family.UNIX, Kind.STREAM, str(folder / "s")),
    ]
    with contextlib.ExitStack() as undo:
        servers = [undo.enter_context(serving(one)) for one in addresses]
        taken = [address for address, _ in servers]
        free = Address(Family.UNIX, Kind.STREAM, str(folder / "free"))
        assert listening_sockets.find_free([taken[0], free, *taken]) == [free]
        found = listening_sockets.find_bound([os.getpid(), *(pid for _, pid in servers), 1 << 30])
        assert {(one.address, one.pid) for one in found} >= {*servers}
        assert not [one for one in found if one.address in taken and one.pid == os.getpid()]
        for number in range(2):
            client = undo.enter_context(socket.socket())
            client.connect((taken[number].host, taken[number].port))
        first = next(one for one in found if one.address == taken[0])
        assert listening_sockets.count_waiting(taken[0], set()) == 1
        assert listening_sockets.count_waiting(taken[0], {first.inode}) == 0
        assert listening_sockets.count_waiting(taken[3], set()) == 0


@contextlib.contextmanager
def serving(address: Address) -> Iterator[tuple[Address, int]]:
    """The address with the port that a process of its own got, which accepts nothing."""
    family = getattr(socket, f"AF_{address.family.name}")
    kind = socket.SOCK_STREAM if address.kind is Kind.STREAM else socket.SOCK_DGRAM
    with socket.socket(family, kind) as listener:
        unix = address.family is Family.UNIX
        listener.bind(address.host if unix else (address.host, 0))
        if kind is socket.SOCK_STREAM:
            listener.listen()
        port = 0 if unix else listener.getsockname()[1]
        holder = subprocess.Popen(["sleep", "60"], pass_fds=[listener.fileno()])
    try:
        yield Address(address.family, address.kind, address.host, port), holder.pid
    finally:
        holder.kill()
        holder.wait()
