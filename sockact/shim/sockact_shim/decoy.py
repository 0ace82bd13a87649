"""Decoys: listening sockets that no client can reach, of the address family of their listener.

The family matters: servers call getsockname() on their listener when they end, and gunicorn, for
example, removes the file that it names.

A connection that is another process's by now gets a dead socket instead: the program may close it,
and even shut it down, without any effect on the client.
"""

from __future__ import annotations

import _socket
import os
import stat

from . import unlink

# linux/in.h, linux/in6.h; not in Python's modules. They need no privileges.
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_LARGEST_TTL = 255
# Seconds; the kernel needs microseconds.
_VISIT = 0.05


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


def visit(fd: int) -> None:
    """Let a thread that waits in accept() on the decoy go on, once: a client that leaves at once.

    A server that polls a blocking listener was perhaps told of a connection which another process
    has taken, and all its clients wait with it. A Unix decoy has no path any more.
    """
    if not os.get_blocking(fd) or _family(fd) == _socket.AF_UNIX:
        return
    twin = _socket.socket(fileno=os.dup(fd))
    client = _socket.socket(twin.family, _socket.SOCK_STREAM)
    try:
        client.settimeout(_VISIT)
        client.setsockopt(_socket.IPPROTO_IP, _socket.IP_TTL, _LARGEST_TTL)
        if twin.family == _socket.AF_INET6:
            client.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_UNICAST_HOPS, _LARGEST_TTL)
        client.connect(twin.getsockname())
    except OSError:
        pass  # A firewall, or an earlier visit that nobody has accepted.
    finally:
        client.close()
        twin.close()


def bury(inodes: list[int]) -> int:
    """Replace these sockets by a dead one at all their fds. Returns the number of fds. Raises
    OSError.
    """
    wanted = set(inodes)
    found = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _inode(fd) in wanted]
    if found:
        dead, other = _socket.socketpair()
        other.close()
        dead.setblocking(False)
        for fd in found:
            os.dup2(dead.fileno(), fd, os.get_inheritable(fd))
        dead.close()
    return len(found)


def _inode(fd: int) -> int:
    try:
        status = os.fstat(fd)
    except OSError:
        return 0  # The fd that listed the directory.
    return status.st_ino if stat.S_ISSOCK(status.st_mode) else 0


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
