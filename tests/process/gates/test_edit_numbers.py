"""Edits of epoll instances: numbers that the fork uses itself, and what is undone."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import gate
from sockact.handover.adoption import own_socket
from sockact.kernel import looks
from sockact.kernel.sockets import listener as listeners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.kernel.sockets.listener import Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield listeners.of_socket("web", sock, owned=False)


def test_numbers_that_are_free_here(listener: Listener) -> None:
    fd = listener.socket.fileno()
    with select.epoll() as poll:
        # The numbers that the next socketpair has, in the process that watches the listener.
        numbers = [os.dup(fd) for _ in range(4)]
        for number in numbers:
            poll.register(number, select.EPOLLIN)
        found = gate.entries([os.getpid()], {listener.inode})
        pid = os.fork()
        if pid == 0:
            select.select([], [], [])
        for number in numbers:
            os.close(number)
        looks.begin(lambda pid: pid, lambda _group, _message: None)
        try:
            found = [gate.Entry(pid, *x.place[1:3], x.events, x.data, x.inode) for x in found]
            assert len(found) == len(numbers)
            assert gate.close(found, {listener.inode: fd}) == {}
            assert gate.entries([pid], {listener.inode}) == []
            gate.open(found, {listener.inode: fd})
            assert len(gate.entries([pid], {listener.inode})) == len(numbers)
        finally:
            looks.end()
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def test_a_replacement_that_fails(listener: Listener) -> None:
    """The program's own socket keeps its entries; the program binds it again."""
    with socket.socket() as own, select.epoll() as poll:
        poll.register(own, select.EPOLLIN)
        inode = os.fstat(own.fileno()).st_ino
        before = gate.entries([os.getpid()], {inode})
        with contextlib.suppress(FileNotFoundError), own_socket.rewatched(before, listener):
            assert gate.entries([os.getpid()], {inode}) == []
            raise FileNotFoundError
        assert gate.entries([os.getpid()], {inode}) == before != []
