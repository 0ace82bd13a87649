"""Descriptors from the store are recognised by their name and their kind."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind
from sockact.systemd import fdstore, listeners
from sockact.systemd.fdstore import Kept

if TYPE_CHECKING:
    from pathlib import Path


@given(st.integers(0, 2**63 - 1))
def test_names_are_valid(number: int) -> None:
    """sd_notify(3), FDNAME=: printable ASCII without a colon, 255 characters at most."""
    for name in (fdstore.listener_name(number), fdstore.process_name(number)):
        assert name.isascii()
        assert name.isprintable()
        assert ":" not in name
        assert len(name) <= 255


def test_listener() -> None:
    kept = Kept()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = os.dup(listener.fileno())
        name = fdstore.listener_name(os.fstat(fd).st_ino)
        assert kept.take(fd, name)
        ((found, sock),) = kept.listeners
        with sock:
            assert (found, sock.fileno()) == (name, fd)
            assert not sock.get_inheritable()


def test_process() -> None:
    kept = Kept()
    fd = os.pidfd_open(os.getpid())
    assert kept.take(fd, fdstore.process_name(os.getpid()))
    (process,) = kept.processes
    assert (process.pid, process.pidfd) == (os.getpid(), fd)
    os.close(fd)


@given(st.one_of(st.text(), st.from_regex(r"sockact-(listener|pidfd)-.*")))
def test_any_other_name(name: str) -> None:
    kept = Kept()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if name != fdstore.listener_name(os.fstat(listener.fileno()).st_ino):
            assert not kept.take(listener.fileno(), name)
    assert kept == Kept()


def test_name_of_another_kind() -> None:
    kept = Kept()
    read, write = os.pipe()
    for fd in (read, write):
        assert not kept.take(fd, fdstore.listener_name(os.fstat(fd).st_ino))
        assert not kept.take(fd, fdstore.process_name(os.getpid()))
        os.close(fd)


def test_trial_that_was_not_finished() -> None:
    read, write = os.pipe()
    kept = Kept()
    assert kept.take(write, fdstore.TRIAL)
    assert os.read(read, 1) == b""
    os.close(read)
    assert kept == Kept()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert not kept.take(listener.fileno(), fdstore.TRIAL)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_usable(kind: socket.SocketKind) -> None:
    address = Address(
        Family.INET, Kind.STREAM if kind is socket.SOCK_STREAM else Kind.DATAGRAM, "127.0.0.1", 1
    )
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            sock.listen()
        with socket.socket(socket.AF_INET, kind) as client:
            # Connections in the queue do not matter.
            client.connect(sock.getsockname())
            client.send(b"x")
            assert fdstore.usable(sock, address)


@pytest.mark.parametrize("there", ["socket", "file", "another", ""])
def test_usable_by_its_path(folder: Path, there: str) -> None:
    path = folder / "x"
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as other:
        sock.bind(str(path))
        sock.listen()
        if there != "socket":
            path.unlink()
        if there == "file":
            path.touch()
        if there == "another":
            other.bind(str(path))
            other.listen()
        address = Address(Family.UNIX, Kind.STREAM, str(path))
        assert fdstore.usable(sock, address) is (there == "socket")
        fdstore.discard(sock, address)
        # Only what is ours is removed.
        assert path.exists() is (there in ("file", "another"))


def test_socket_whose_name_forges_a_line(folder: Path) -> None:
    """/proc/net/unix shows a newline in a name as it is: numbers in it may be anything."""
    path = folder / "x"
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as other:
        sock.bind(str(path))
        sock.listen()
        other.bind(f"\0\nA: 2 0 zz 1 1 y {path}\n".encode())
        assert fdstore.usable(sock, Address(Family.UNIX, Kind.STREAM, str(path)))


def test_an_address_that_is_about_to_be_closed() -> None:
    """systemd answers a barrier before it has closed removed descriptors."""
    with socket.socket() as old:
        old.bind(("127.0.0.1", 0))
        old.listen()
        text = f"0.0.0.0:{old.getsockname()[1]}"
        with pytest.raises(OperatorError, match="another process uses it"):
            listeners.open_all((text,))
        closing = threading.Timer(0.05, old.close)
        closing.start()
        (found,) = listeners.open_all((text,), patience=30.0)
        closing.join()
    found.close()
