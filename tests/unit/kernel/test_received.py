"""Descriptors that strangers send: whatever they are, nobody waits for them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

from sockact.kernel.sockets import received

if TYPE_CHECKING:
    from collections.abc import Iterator

LINGER = struct.pack("ii", 1, 3600)
SOON = 2.0


@pytest.fixture
def lingering() -> Iterator[int]:
    """A descriptor whose close(2) would wait for an hour; the test closes it."""
    with socket.create_server(("127.0.0.1", 0)) as peer:
        sock = socket.create_connection(peer.getsockname())
        deaf = peer.accept()[0]
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)
    sock.setblocking(True)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    yield sock.detach()
    deaf.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def _give(sock: socket.socket, data: bytes, fd: int) -> None:
    """Send the last reference to a file."""
    socket.send_fds(sock, [data], [fd])
    os.close(fd)


def test_received_socket(pair: tuple[socket.socket, socket.socket], lingering: int) -> None:
    ours, theirs = pair
    began = time.monotonic()
    _give(theirs, b"words", lingering)
    data, _ = received.take(ours, 100)
    assert data == b"words"
    assert time.monotonic() - began < SOON


def test_as_many_as_a_message_can_have(pair: tuple[socket.socket, socket.socket]) -> None:
    """None is left to the kernel, which would close it as we do not."""
    ours, theirs = pair
    socket.send_fds(theirs, [b"x"], [0] * 253)
    _data, fds, _ = received.receive(ours, 100)
    assert len(fds) == 253
    assert not any(map(os.get_inheritable, fds))
    received.close(fds)


@pytest.mark.parametrize("data", [b"x", b""])
def test_unread_socket(
    pair: tuple[socket.socket, socket.socket], lingering: int, data: bytes
) -> None:
    """It is in the queue of a connection that is closed, behind an empty message perhaps."""
    ours, theirs = pair
    began = time.monotonic()
    theirs.send(data)
    _give(theirs, b"x", lingering)
    received.close_queue(ours)
    assert time.monotonic() - began < SOON
    with pytest.raises(BrokenPipeError):
        theirs.send(b"x")


def test_answer_that_is_not_read_yet(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.send(b"answer")
    received.close_queue(ours)
    assert theirs.recv(100) == b"answer"
    assert theirs.recv(100) == b""


def test_unread_datagram(lingering: int) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with ours, theirs:
        began = time.monotonic()
        _give(theirs, b"READY=1", lingering)
        received.close_queue(ours)
        assert time.monotonic() - began < SOON


def test_connection_that_is_not_accepted(lingering: int) -> None:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    address = b"\0sockact-test-%d" % os.getpid()
    listening.bind(address)
    listening.listen()
    listening.setblocking(False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as theirs:
        began = time.monotonic()
        theirs.connect(address)
        _give(theirs, b"x", lingering)
        received.close_listening(listening)
        assert time.monotonic() - began < SOON
