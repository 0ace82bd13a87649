"""Looks at epoll instances have a limit, whatever a program puts into them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.handover import gate
from sockact.handover.interest import interest
from sockact.kernel import epoll

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRIES = 200


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener in several of our own epoll instances, among many other entries."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        read, write = os.pipe()
        stack.callback(os.close, read)
        stack.callback(os.close, write)
        others = [os.dup(read) for _ in range(_ENTRIES)]
        for fd in others:
            stack.callback(os.close, fd)
        for _ in range(3):
            epoll = stack.enter_context(select.epoll())
            epoll.register(made, select.EPOLLIN)
            for fd in others:
                epoll.register(fd, select.EPOLLIN)
        yield made


def _inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


def test_only_the_wanted_entries(listener: socket.socket) -> None:
    found = gate.entries([os.getpid()], {_inode(listener)})
    # The kernel adds EPOLLERR and EPOLLHUP.
    assert [
        (entry.fd, entry.events & select.EPOLLIN, entry.data & 0xFFFFFFFF) for entry in found
    ] == [(listener.fileno(), select.EPOLLIN, listener.fileno())] * 3
    whole = epoll.of_process(os.getpid())
    assert sum(map(len, whole.values())) == 3 * (_ENTRIES + 1)


@pytest.mark.parametrize(("name", "value"), [("_MOST_BYTES", 20_000), ("_MOST_FOUND", 2)])
def test_too_many_entries(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    """In all of a process together. It counts as unreadable, with a reason."""
    inodes = {_inode(listener)}
    monkeypatch.setattr(epoll, name, value)
    with pytest.raises(epoll.TooMany, match=f"process {os.getpid()} has too many epoll"):
        gate.entries([os.getpid()], inodes)
    # The limit is for all processes of a look together.
    found, unreadable = interest([os.getpid(), os.getpid()], inodes)
    assert found == set()
    assert unreadable == {os.getpid()}
