"""Quiet connections of a process are parked, and their next bytes decide where they go."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import gate
from sockact.handover.delivery.parked import Parked
from sockact.kernel import pidfd, procfs
from tests.support import wait
from tests.support.child import child, inode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.handover.delivery.parked import News

# Echoes what comes in; its connections are in epoll, but not after "out".
ECHOES = """
loop = select.epoll()
loop.register(listener, select.EPOLLIN)
connections = {}
while True:
    for number, events in loop.poll():
        if number == listener.fileno():
            connection, _ = listener.accept()
            connections[connection.fileno()] = connection
            loop.register(connection, select.EPOLLIN | select.EPOLLRDHUP)
        elif data := connections[number].recv(100):
            if data == b"out":
                loop.unregister(number)
            connections[number].sendall(data)
        else:
            connections.pop(number).close()
            os.write(1, b"closed")
"""
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


class Echoes:
    """A program, and one client of it."""

    def __init__(self, pid: int, listener: socket.socket, output: int) -> None:
        self.pid = pid
        self.output = output
        self.client = socket.create_connection(listener.getsockname(), wait.TIMEOUT)
        self.echoes(b"hello")
        inodes = {*procfs.sockets(pid).values()} - {inode(listener)}
        self.entries = gate.entries([pid], inodes)

    def read(self) -> bool:
        """Read what is there."""
        while wait.readable(self.client.fileno(), timeout=0):
            self.client.recv(100_000)
        return True

    def echoes(self, data: bytes) -> None:
        self.client.sendall(data)
        assert self.client.recv(100) == data


@pytest.fixture
def echoes() -> Iterator[Echoes]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        child(ECHOES, listener) as process,
    ):
        assert process.stdout is not None
        made = Echoes(process.pid, listener, process.stdout.fileno())
        with made.client:
            yield made


def wait_parked(echoes: Echoes) -> None:
    """Wait until the program's entry waits for nothing."""
    inodes = {entry.inode for entry in echoes.entries}
    wait.until(lambda: not gate.entries([echoes.pid], inodes)[0].events & 1, "it to be parked")


@contextlib.contextmanager
def parking_of(echoes: Echoes) -> Iterator[Parked]:
    made = Parked(echoes.entries)
    wait_parked(echoes)
    yield made
    made.end()
    os.waitpid(made.pid, 0)
    made.close()


def process_socket(echoes: Echoes) -> socket.socket:
    """The program's end of the connection."""
    return socket.socket(fileno=pidfd.getfd(echoes.pid, echoes.entries[0].fd))


@pytest.fixture
def parked(echoes: Echoes) -> Iterator[Parked]:
    with parking_of(echoes) as made:
        yield made


def one(parked: Parked) -> News:
    assert wait.readable(parked.fileno())
    news = parked.news()
    assert news is not None
    assert len(news) == 1
    return news[0]


def test_a_request_is_reported_and_not_read(echoes: Echoes, parked: Parked) -> None:
    echoes.client.sendall(REQUEST)
    news = one(parked)
    assert news.fd is not None
    assert not os.get_inheritable(news.fd)
    with socket.socket(fileno=news.fd) as connection:
        assert connection.recv(100) == REQUEST
        connection.sendall(b"answer")
    assert echoes.client.recv(100) == b"answer"


def test_a_delivered_connection_is_forgotten(echoes: Echoes, parked: Parked) -> None:
    echoes.client.sendall(REQUEST)
    news = one(parked)
    assert news.fd is not None
    parked.delivered(news.index)
    inodes = {entry.inode for entry in echoes.entries}
    wait.until(lambda: not gate.entries([echoes.pid], inodes), "it to leave epoll")
    assert parked.lost() == []
    os.close(news.fd)


def test_a_request_that_cannot_be_delivered_goes_back(echoes: Echoes, parked: Parked) -> None:
    echoes.client.sendall(REQUEST)
    news = one(parked)
    assert news.fd is not None
    os.close(news.fd)
    parked.give_back(news.index)
    assert echoes.client.recv(100) == REQUEST


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x00\x05hello", b"GET / HT", b"rest of a body"])
def test_anything_else_goes_back(data: bytes, echoes: Echoes, parked: Parked) -> None:
    echoes.echoes(data)
    assert one(parked).fd is None
    echoes.echoes(REQUEST)  # And stays there.


def test_what_has_gone_back_is_parked_again(echoes: Echoes, parked: Parked) -> None:
    for _ in range(2):
        echoes.echoes(b"rest of a body")
        assert one(parked).fd is None
        parked.add(echoes.entries)
        wait_parked(echoes)
    echoes.client.sendall(REQUEST)
    news = one(parked)
    assert news.fd is not None
    os.close(news.fd)


def test_an_end_goes_back(echoes: Echoes, parked: Parked) -> None:
    echoes.client.shutdown(socket.SHUT_WR)
    assert one(parked).fd is None
    assert os.read(echoes.output, 10) == b"closed"


def test_a_request_goes_back_if_the_program_has_sent_something_meanwhile(
    echoes: Echoes, parked: Parked
) -> None:
    """It may be in the middle of a response: nobody knows whether the client waits for its end."""
    with process_socket(echoes) as own:
        own.sendall(b"event")
    assert echoes.client.recv(10) == b"event"
    echoes.echoes(REQUEST)
    assert one(parked).fd is None


def test_a_program_that_waits_to_send_more_gets_its_events_again(
    echoes: Echoes, parked: Parked
) -> None:
    with process_socket(echoes) as own:
        with contextlib.suppress(BlockingIOError):
            while own.send(bytes(100_000), socket.MSG_DONTWAIT):
                pass
        wait.until(lambda: echoes.read() and wait.readable(parked.fileno(), timeout=0), "news")
    assert one(parked).fd is None


def test_what_is_left_goes_back_at_the_end(echoes: Echoes) -> None:
    """A supervisor that is killed closes its end of the channel, too."""
    parked = Parked(echoes.entries)
    parked.end()
    os.waitpid(parked.pid, 0)
    parked.close()
    echoes.echoes(REQUEST)


def test_what_a_killed_process_had_parked_is_restored(echoes: Echoes, parked: Parked) -> None:
    os.kill(parked.pid, signal.SIGKILL)
    assert wait.readable(parked.fileno())
    assert parked.news() is None
    assert gate.restore(parked.lost()) == {}
    echoes.echoes(REQUEST)


def test_a_connection_that_was_closed_meanwhile(echoes: Echoes) -> None:
    echoes.client.close()
    assert os.read(echoes.output, 10) == b"closed"
    parked = Parked(echoes.entries)
    assert one(parked).fd is None
    parked.end()
    os.waitpid(parked.pid, 0)
    parked.close()


def test_one_that_is_not_in_epoll_at_this_moment(echoes: Echoes) -> None:
    """A thread has it, say, and puts it back with its events: it would not be mute."""
    echoes.echoes(b"out")
    parked = Parked(echoes.entries)
    assert one(parked).busy
    assert len(parked) == 0
    parked.end()
    os.waitpid(parked.pid, 0)
    parked.close()
