"""Adopt, from inside the process: the program's bind() ends up on a listener of the service.

Wraps bind and listen of `socket.socket` and, for Unix listeners, unlink and remove of `os`. Calls
that concern no listener reach the original function, with its own errors.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket

from .unlink import disguised, spare
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FAMILIES = {_socket.AF_INET: "inet", _socket.AF_INET6: "inet6", _socket.AF_UNIX: "unix"}
_TYPES = {_socket.SOCK_STREAM: "stream", _socket.SOCK_DGRAM: "datagram"}

_adopted: set[int] = set()


def install(supervisor: str, unix_paths: str) -> None:
    """Wrap the functions. `unix_paths` are the paths of Unix listeners, separated by colons."""
    _wrap_sockets(supervisor)
    paths = frozenset(path for path in unix_paths.split(":") if path)
    if paths:
        spare(paths)


def _wrap_sockets(supervisor: str) -> None:
    plain_bind, plain_listen = _socket.socket.bind, _socket.socket.listen

    def bind(self: socket.socket, address: Any, /) -> None:
        if not _adopt(self, address, supervisor):
            plain_bind(self, address)

    def listen(self: socket.socket, *backlog: Any) -> None:
        if not _is_adopted(self, supervisor):
            plain_listen(self, *backlog)

    for name, wrapper, plain in (("bind", bind, plain_bind), ("listen", listen, plain_listen)):
        setattr(socket.socket, name, disguised(wrapper, plain))


def _adopt(own: socket.socket, address: Any, supervisor: str) -> bool:
    """Replace the socket by its listener; False if there is none. Raises OSError if refused."""
    words = describe(own, address)
    if not words:
        return False
    listener = _ask(supervisor, words, own.fileno())
    if listener is None:
        return False
    try:
        fd = own.fileno()
        blocking = os.get_blocking(fd)
        os.dup2(listener, fd, os.get_inheritable(fd))
        if not blocking:  # never cleared: all generations share this flag
            os.set_blocking(fd, False)
        _adopted.add(os.fstat(fd).st_ino)
    finally:
        os.close(listener)
    return True


def _ask(supervisor: str, words: str, own: int | None = None) -> int | None:
    """Ask the supervisor for the listener of an address; None if there is none, or no supervisor.

    The supervisor sets the options of the socket at the fd `own` on the listener.
    """
    try:
        with Wire(supervisor) as wire:
            wire.send(f"bind {os.getpid()} {words}", own)
            answer, fd = wire.receive_with_fd()
    except OSError:
        return None
    if answer[:1] == ["adopt"]:
        return fd
    if fd is not None:
        os.close(fd)
    if answer[:1] == ["refuse"] and len(answer) > 1 and answer[1].isdigit():
        raise OSError(int(answer[1]), " ".join(answer[2:]))
    return None


def look(own: socket.socket, address: Any, supervisor: str) -> int | None:
    """ECONNREFUSED if nobody would serve at the address without sockact, 0 if the connection is to
    be made, None if all later ones are, too.
    """
    words = describe(own, address)
    if not words:
        return 0
    try:
        with Wire(supervisor) as wire:
            wire.send(f"look {os.getpid()} {words}")
            answer = wire.receive()
    except OSError:
        return 0
    if answer[:1] == ["over"]:
        return None
    return errno.ECONNREFUSED if answer[:1] == ["free"] else 0


def describe(own: socket.socket, address: Any) -> str:
    """Return FAMILY TYPE ADDRESS [PORT]; empty if no listener can have this address."""
    family, kind = _FAMILIES.get(int(own.family)), _TYPES.get(int(own.type))
    if family is None or kind is None:
        return ""
    try:
        where = _unix_name(address) if family == "unix" else _internet_name(own, address)
    except (OSError, TypeError, ValueError, LookupError):
        return ""  # the original bind raises the right error
    return f"{family} {kind} {where}" if where else ""


def _unix_name(address: Any) -> str:
    name = address.encode("utf-8", "surrogateescape") if isinstance(address, str) else address
    name = bytes(memoryview(name))
    if name and not name.startswith(b"\0"):
        name = os.path.abspath(name)
    return name.hex()


def _internet_name(own: socket.socket, address: Any) -> str:
    host, port = address[0], int(address[1])
    if isinstance(host, (bytes, bytearray)):
        host = host.decode("ascii")
    if not port:
        return ""  # any free port, which is never a listener's
    # As bind does: an empty host is the wildcard address, a name stands for its first address.
    found = _socket.getaddrinfo(
        host or None, port, int(own.family), int(own.type), 0, _socket.AI_PASSIVE
    )
    return f"{str(found[0][4][0]).partition('%')[0]} {port}"


def _is_adopted(own: socket.socket, supervisor: str) -> bool:
    try:
        inode = os.fstat(own.fileno()).st_ino
    except OSError:
        return False
    if inode in _adopted:
        return True
    # A process that inherited the listener from its parent has not seen the adoption.
    if not own.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
        return False
    return _is_listener(own, inode, supervisor)


def _is_listener(own: socket.socket, inode: int, supervisor: str) -> bool:
    try:
        words = describe(own, own.getsockname())
        listener = _ask(supervisor, words) if words else None
    except OSError:
        return False
    if listener is None:
        return False
    try:
        if os.fstat(listener).st_ino == inode:
            _adopted.add(inode)
    finally:
        os.close(listener)
    return inode in _adopted
