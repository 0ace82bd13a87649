"""Whether an address is listened on, by the kernel's tables, with real sockets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.units.listening_sockets import may_be_in_use

if TYPE_CHECKING:
    from pathlib import Path


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
            assert not may_be_in_use(address)
            listener.listen()
        assert may_be_in_use(address)
    assert not may_be_in_use(address)


def test_socket_files(folder: Path) -> None:
    path = str(folder / "a b.sock")
    address = Address(Family.UNIX, Kind.STREAM, path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        assert not may_be_in_use(address)
        listener.listen()
        assert may_be_in_use(address)
    assert not may_be_in_use(address)


def test_abstract_names() -> None:
    address = Address(Family.UNIX, Kind.STREAM, "@sockact-test-listening")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0sockact-test-listening")
        listener.listen()
        assert may_be_in_use(address)
    assert not may_be_in_use(address)
