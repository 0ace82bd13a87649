"""The socket options of listeners, which generations leave behind and set: docs/adopt.md.

A process can hold the lock of a socket for ever, its own or a listener, as that of an epoll
instance (looks.py). So whatever takes this lock is done in a new process, which has the listener.
"""

from __future__ import annotations

import os
import socket
import stat

from sockact.kernel import credentials, looks, pidfd, procfs
from sockact.kernel.looks import apart
from sockact.kernel.sockets import received, sockopt

TYPE_CHECKING = False
LISTENERS = "listeners"
"""The group of what concerns a listener, but no generation."""

if TYPE_CHECKING:
    from sockact.kernel.sockets.listener import Listener
    from sockact.kernel.sockets.sockopt import Change, Option


def theirs(tid: int, fd: int | None, queue: int | None) -> tuple[Change, ...] | None:
    """The options that a thread has set on its own socket; None if that is of another network.

    The socket is descriptor `fd` of the thread, or comes with the next message in our socket
    `queue`. Raises OSError.
    """
    if queue is not None:
        return looks.in_fork(_of_queue, [queue], tid, queue)
    if fd is None or looks.is_begun():
        return _of_thread(tid, fd)
    own = _duplicate(tid, fd)  # Only a process above the program may have it, under Yama.
    try:
        return () if own is None else looks.in_fork(_of_socket, [own], tid, own)
    finally:
        if own is not None:
            received.close([own])


def give(listener: Listener, changes: tuple[Change, ...], *, first: bool) -> tuple[Option, ...]:
    """Set options of a program on a listener; return those of before. `first`: begin with those
    that it had at the start. Raises OSError.
    """
    fd = listener.socket.fileno()
    return looks.in_fork(_give, [fd], 0, fd, listener.original if first else None, changes)


def begin(listener: Listener) -> tuple[Option, ...]:
    """Set the options that the listener had at first; return those of before. Raises OSError."""
    return put_back(listener, listener.original)


def put_back(listener: Listener, options: tuple[Option, ...]) -> tuple[Option, ...]:
    """Set options that were returned earlier; return those of before. Raises OSError."""
    fd = listener.socket.fileno()
    with looks.charged(LISTENERS):
        return looks.in_fork(_put_back, [fd], 0, fd, options)


@apart
def _of_queue(tid: int, queue: int) -> tuple[Change, ...] | None:
    with socket.socket(fileno=os.dup(queue)) as sock:
        fds = received.receive(sock, 1)[1]
    try:
        return _of_socket(tid, fds[0]) if fds else ()
    finally:
        received.close(fds)


@apart
def _of_thread(tid: int, fd: int | None) -> tuple[Change, ...] | None:
    own = _duplicate(tid, fd) if fd is not None else None
    if own is None:
        return ()
    try:
        return _of_socket(tid, own)
    finally:
        received.close([own])


@apart
def _of_socket(_tid: int, own: int) -> tuple[Change, ...] | None:
    # The program may have replaced the descriptor meanwhile by one that is no socket.
    if not stat.S_ISSOCK(os.fstat(own).st_mode):
        return ()
    with socket.socket(fileno=os.dup(own)) as found:
        if credentials.shares_network(found) is False:
            return None
        return sockopt.changed(found)


@apart
def _give(
    _group: int, number: int, original: tuple[Option, ...] | None, changes: tuple[Change, ...]
) -> tuple[Option, ...]:
    with socket.socket(fileno=os.dup(number)) as listener:
        before = sockopt.read(listener)
        if original is not None:
            sockopt.put_back(listener, original)
        sockopt.change(listener, changes)
    return before


@apart
def _put_back(_group: int, number: int, options: tuple[Option, ...]) -> tuple[Option, ...]:
    with socket.socket(fileno=os.dup(number)) as listener:
        before = sockopt.read(listener)
        sockopt.put_back(listener, options)
    return before


def _duplicate(tid: int, fd: int) -> int | None:
    try:
        return pidfd.getfd(procfs.thread_group(tid), fd)
    except OSError:
        return None  # pidfd_getfd is refused here: only the .socket unit's options apply.
