"""Decoys: listening sockets that no client can reach, of the address family of their listener.

The family matters: servers call getsockname() on their listener when they end, and gunicorn, for
example, removes the file that it names.
"""

from __future__ import annotations

import _socket
import os

from . import unlink

# linux/in.h, linux/in6.h; not in Python's modules. They need no privileges.
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_LARGEST_TTL = 255


def make(listener: int) -> tuple[int, int]:
    """A new decoy for the listener at this fd, with its O_NONBLOCK: (fd, inode). Raises OSError."""
    decoy = _socket.socket(_family(listener), _socket.SOCK_STREAM)
    try:
        if decoy.family == _socket.AF_UNIX:
            _bind_path(decoy)
        else:
            _bind_port(decoy)
        decoy.listen(0)
        os.set_blocking(decoy.fileno(), os.get_blocking(listener))
        return decoy.fileno(), os.fstat(decoy.fileno()).st_ino
    finally:
        decoy.detach()


def _family(fd: int) -> int:
    twin = _socket.socket(fileno=os.dup(fd))
    try:
        return twin.family
    finally:
        twin.close()


def _bind_port(decoy: _socket.socket) -> None:
    """Bind to the loopback interface, and drop packets with less than the largest TTL."""
    decoy.setsockopt(_socket.IPPROTO_IP, _IP_MINTTL, _LARGEST_TTL)
    if decoy.family == _socket.AF_INET:
        decoy.bind(("127.0.0.1", 0))
        return
    decoy.setsockopt(_socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, _LARGEST_TTL)
    try:
        decoy.bind(("::1", 0))
    except OSError:  # as in many containers: the listener is [::], and IPv6 is disabled
        decoy.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
        decoy.bind(("::ffff:127.0.0.1", 0))


def _bind_path(decoy: _socket.socket) -> None:
    """Bind to a path, and remove it before the socket listens, so that no client can connect.

    The mode of the listener's own file would not protect the decoy. The last resort is an abstract
    name, which /proc/net/unix shows.
    """
    name = "sockact-" + os.urandom(12).hex()
    for directory in (os.environ.get("TMPDIR"), "/tmp", "/dev/shm", "/var/tmp"):
        path = os.path.join(directory or "/tmp", name)
        try:
            decoy.bind(path)
            os.unlink(path)
        except OSError:
            continue
        unlink.spare([path])
        return
    decoy.bind("")
