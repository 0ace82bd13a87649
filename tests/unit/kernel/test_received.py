"""Descriptors that strangers send: whatever they are, nobody waits for them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import helper, looks
from sockact.kernel.looks import Blocked, Unavailable
from sockact.kernel.sockets import received
from tests.support.helpers import never_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

LINGER = struct.pack("ii", 1, 3600)
SOON = 2.0
GROUP = "descriptors that were sent"


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


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A first descriptor has kept its process waiting, so that there is none for the next one."""
    monkeypatch.setattr(helper, "_PAUSES", (3600.0,))
    looks.begin(lambda pid: pid, lambda _group, _message: None)
    with looks.charged(GROUP), pytest.raises(Blocked):
        never_answers(0)
    yield
    looks.end()


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


def test_a_socket_that_there_is_no_process_for(
    refused: None, pair: tuple[socket.socket, socket.socket], lingering: int
) -> None:
    """Its message stays unread, and it stays open, until there is one."""
    ours, theirs = pair
    _give(theirs, b"x", lingering)
    for _ in range(2):
        with pytest.raises(Unavailable):
            received.take(ours, 100)
    received.close_queue(ours)
    assert ours.fileno() >= 0
    plain, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    plain.setblocking(False)
    with peer:
        received.close_queue(plain)  # It has nothing to wait for.
    assert plain.fileno() < 0
    looks.forget(GROUP)
    assert received.close_kept()
    assert ours.fileno() < 0
    assert theirs.recv(1) == b""


def test_the_next_message_of_a_descriptor_that_waits(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that is given up has taken the first message only."""
    ours, theirs = pair
    looks.begin(lambda pid: pid, lambda _group, _message: None)
    monkeypatch.setattr(received, "close", lambda _fds: signal.pause())
    socket.send_fds(theirs, [b"one"], [0])
    theirs.send(b"two")
    assert received.take(ours, 100)[0] == b"one"
    assert received.take(ours, 100)[0] == b"two"
    looks.end()


def test_few_sockets_are_kept(refused: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then no more connections are accepted, any of which might have to be kept."""
    monkeypatch.setattr(received, "_MOST_KEPT", 2)
    found = []
    for room in (True, False):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            socket.send_fds(theirs, [b"x"], [0])
        received.close_queue(ours)
        assert received.close_kept() == room
        found.append(ours)
    looks.forget(GROUP)
    assert received.close_kept()
    assert [sock.fileno() for sock in found] == [-1, -1]
