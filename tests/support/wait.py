"""Waiting for a condition with a deadline, never for a fixed time."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

TIMEOUT = 30.0
INTERVAL = 0.01
# Below those that the kernel gives out by itself, to clients above all.
PORTS = range(16384, 32768)
SHARE = 256


def until(
    fact: Callable[[], T | None], what: str, timeout: float = TIMEOUT, interval: float = INTERVAL
) -> T:
    """The fact, as soon as it is true: 0 and what is empty are none. Else raises TimeoutError.

    For facts that no file descriptor announces; look for an event to wait for first.
    """
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        pause.wait(interval)


def readable(*fds: int, timeout: float = TIMEOUT) -> list[int]:
    """Those of the fds that can be read (a pidfd: has ended); none at the deadline."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(timeout * 1000)]


def writable(fd: int, timeout: float = 0.0) -> bool:
    """Whether the fd takes a write by the deadline."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(timeout * 1000))


def ended(pid: int, timeout: float = TIMEOUT) -> bool:
    """Whether the process has ended by the deadline; also of a process that is no child."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(readable(pidfd, timeout=timeout))
    finally:
        os.close(pidfd)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """A port that is free now, and that no other test process gets from this function."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in itertools.islice(port_share(), SHARE):
        with socket.socket(family, kind) as sock:
            try:
                sock.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise AssertionError(f"all {SHARE} ports of this process are in use")


@functools.cache
def port_share() -> Iterator[int]:
    """The ports that are this process's own among tests that run side by side, over and over.

    It holds them by an abstract socket, which goes with the process.
    """
    for first in PORTS[::SHARE]:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0sockact-test-ports-{first}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return _over_and_over(first, claim)
    raise AssertionError("too many processes take ports for tests")


def _over_and_over(first: int, claim: socket.socket) -> Iterator[int]:
    with claim:
        yield from itertools.cycle(range(first, first + SHARE))
