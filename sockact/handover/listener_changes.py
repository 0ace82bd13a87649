"""Changes of listeners: the socket options that generations leave behind and set (docs/adopt.md),
and repairs of what a program has made unusable (kernel/sockets/upkeep.py).

A process can hold the lock of a listener for ever, as that of an epoll instance (looks.py). So
whatever takes this lock is done in a new process, which has the listener.
"""

from __future__ import annotations

import contextlib
import os
import socket

from sockact.core.matching import Kind
from sockact.kernel import looks
from sockact.kernel.looks import apart, apart_for
from sockact.kernel.sockets import admission, multicast, sockopt, upkeep
from sockact.kernel.sockets.listener import of_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sockact.kernel.sockets.listener import Listener
    from sockact.kernel.sockets.sockopt import Change, Option

_GROUP = "listeners"
"""What concerns a listener, unless a generation is charged."""
_UNREAD = ((0, 0, b""),)
_MOVED = "its socket file was removed, renamed or replaced"
# Path, device and inode of a socket file.
File = tuple[str, int, int]


class Options:
    """The options that one generation sets on the listeners, and those that it finds there."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self._before: list[tuple[Listener, tuple[Option, ...]]] = []
        self._given: dict[int, tuple[Change, ...]] = {}

    def begin_all(self) -> None:
        """Give the program all listeners as they were at the start. Raises OSError."""
        for listener in self._listeners:
            self._before.append((listener, put_back(listener, listener.original)))

    def give(self, listener: Listener, changes: tuple[Change, ...] | None) -> None:
        """Set what the program has changed on its own socket; None: that is unknown.

        The first time, undo the options that other generations have set. Raises OSError.
        """
        if listener.inode not in self._given:
            self._before.append((listener, change(listener, changes or (), first=True)))
            self._given[listener.inode] = changes or ()
        elif changes is not None and changes != self._given[listener.inode]:
            change(listener, changes, first=False)
            self._given[listener.inode] = changes

    def restore(self) -> None:
        """Set the options that were in force before this generation: it does not serve.

        If a process holds the lock of a listener, its options stay.
        """
        for listener, before in self._before:
            with contextlib.suppress(OSError):
                put_back(listener, before)
        self._before.clear()


def change(listener: Listener, changes: tuple[Change, ...], *, first: bool) -> tuple[Option, ...]:
    """Set options of a program on a listener; return those of before. `first`: begin with those
    that it had at the start. Raises OSError.
    """
    fd = listener.socket.fileno()
    return looks.in_fork_or_here(
        _GROUP, _change, [fd], fd, listener.original if first else None, changes
    )


def put_back(listener: Listener, options: tuple[Option, ...]) -> tuple[Option, ...]:
    """Set options that were returned earlier; return those of before. Raises OSError."""
    fd = listener.socket.fileno()
    return looks.in_fork_or_here(_GROUP, _put_back, [fd], fd, options)


def repair(listener: Listener, limit: int) -> tuple[str, str]:
    """Make it listen again, with a queue of `limit`. Return (what was done to it, its defect), both
    "" if it is as it should be. Raises OSError.
    """
    fd = listener.socket.fileno()
    return looks.in_fork_or_here(_GROUP, _repair, [fd], fd, limit)


def socket_file(listener: Listener) -> File | None:
    """The file through which clients find it; None if it has none, or none that can be seen here.

    Raises Unavailable.
    """
    return _socket_file(listener.address.host) if listener.address.is_file else None


def tidy(found: list[tuple[Listener, int, File | None]], *, admit: bool) -> list[str]:
    """Make all of them listen again, with a queue of this limit, and undo the options that keep
    clients away; if `admit` is false, the filter of `admission` stays. Return for each why no
    client can connect to it, or "". Raises Unavailable.
    """
    plain = [(listener.socket.fileno(), limit, file) for listener, limit, file in found]
    if not plain:
        return []
    return looks.in_fork_or_here(_GROUP, _tidy, [fd for fd, *_ in plain], plain, admit)


def admit(listeners: list[Listener], *, more: bool) -> None:
    """Let connections begin at these TCP listeners, or at none of them: their clients try again.
    Raises OSError.
    """
    found = [listener.socket.fileno() for listener in listeners]
    looks.in_fork_or_here(_GROUP, _admit, found, found, more)


def receives_multicast(listeners: Iterable[Listener]) -> bool:
    """Whether a program has made one of them a member of a multicast group. Raises Unavailable."""
    found = [x.socket.fileno() for x in listeners if x.address.kind is Kind.DATAGRAM]
    return bool(found) and looks.in_fork_or_here(_GROUP, _receives_multicast, found, found)


def shut(listener: Listener) -> None:
    """Refuse its new clients. Raises OSError."""
    fd = listener.socket.fileno()
    looks.in_fork_or_here(_GROUP, _shut, [fd], fd)


@apart
def _change(
    number: int, original: tuple[Option, ...] | None, changes: tuple[Change, ...]
) -> tuple[Option, ...]:
    with socket.socket(fileno=os.dup(number)) as listener:
        before = sockopt.read(listener)
        if original is not None:
            sockopt.put_back(listener, original)
        sockopt.change(listener, changes)
    return before


@apart
def _put_back(number: int, options: tuple[Option, ...]) -> tuple[Option, ...]:
    with socket.socket(fileno=os.dup(number)) as listener:
        before = sockopt.read(listener)
        sockopt.put_back(listener, options)
    return before


@apart
def _repair(fd: int, limit: int) -> tuple[str, str]:
    with _duplicate(fd) as listener:
        if why := upkeep.defect(listener):
            return "", why
        if not upkeep.has_lost_clients(listener):
            return "", ""
        did = "connected" if upkeep.is_connected(listener.socket) else "shut down"
        try:
            upkeep.listen_again(listener, limit)
        except OSError as error:
            raise OSError(error.errno, f"{did}: {error.strerror}") from None
        return did, ""


@apart
def _tidy(found: list[tuple[int, int, File | None]], admit: bool) -> list[str]:
    return [_tidied(fd, limit, file, admit) for fd, limit, file in found]


def _tidied(fd: int, limit: int, file: File | None, admit: bool) -> str:
    try:
        with _duplicate(fd) as listener:
            if upkeep.has_lost_clients(listener):
                upkeep.listen_again(listener, limit)
            upkeep.undo_options(listener, admit=admit)
            why = upkeep.defect(listener)
    except OSError as error:
        return f"the program shut it down, and listening again failed ({error.strerror})"
    return why or (_MOVED if file and _socket_file(file[0]) != file else "")


@apart
def _admit(found: list[int], more: bool) -> None:
    for number in found:
        with socket.socket(fileno=os.dup(number)) as listener:
            if not more:
                admission.admit_no_more(listener)
            elif admission.admits_no_more(listener):
                admission.admit_again(listener)


@apart_for(_GROUP)
def _socket_file(path: str) -> File | None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return path, found.st_dev, found.st_ino


@apart
def _receives_multicast(found: list[int]) -> bool:
    for fd in found:
        with _duplicate(fd) as listener:
            if multicast.receives(listener.socket):
                return True
    return False


@apart
def _shut(fd: int) -> None:
    with _duplicate(fd) as listener:
        listener.socket.shutdown(socket.SHUT_RD)


@contextlib.contextmanager
def _duplicate(fd: int) -> Iterator[Listener]:
    listener = of_descriptor(os.dup(fd), "", owned=False, original=_UNREAD)
    with listener.socket:
        yield listener
