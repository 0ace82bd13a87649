"""Listening and UDP sockets in the kernel's tables: proc_pid_net(5), sock_diag(7).

Not /proc/net/unix: a socket name with a newline could forge a line there.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from dataclasses import dataclass

from sockact.core.matching import Address, Family, Kind
from sockact.kernel import pidfd, procfs
from sockact.kernel.sockets import sock_diag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LISTEN = "0A"
_TABLES = (
    ("tcp", socket.AF_INET, Family.INET, Kind.STREAM),
    ("tcp6", socket.AF_INET6, Family.INET6, Kind.STREAM),
    ("udp", socket.AF_INET, Family.INET, Kind.DATAGRAM),
    ("udp6", socket.AF_INET6, Family.INET6, Kind.DATAGRAM),
)
# Sockets for a program's internal use: queues of multiprocessing, gunicorn's control socket.
_PRIVATE = re.compile(r"/pymp-|/gunicorn\.ctl$")


@dataclass(frozen=True)
class Bound:
    """A listening, or UDP, socket of a process."""

    address: Address
    inode: int
    pid: int
    fd: int
    file: tuple[int, int] | None = None
    """Device and inode of a Unix socket's file, as in sock_diag. The path in `address` is as the
    program sees it, and may be another file for us.
    """


def may_be_in_use(address: Address) -> bool:
    """`is_in_use`, and True if that cannot be found out."""
    try:
        return is_in_use(address)
    except OSError:
        return True


def is_in_use(address: Address) -> bool:
    """Whether a process of this network namespace listens on the address. Raises OSError."""
    if address.family is Family.UNIX:
        return address.host in {_host(one.name) for one in sock_diag.unix_listeners()}
    kinds = {(family, kind): (name, number) for name, number, family, kind in _TABLES}
    name, number = kinds[address.family, address.kind]
    wanted = socket.inet_pton(number, address.host.partition("%")[0])
    table = _table(f"/proc/net/{name}", number, address.family, address.kind)
    return any(
        found.port == address.port and socket.inet_pton(number, found.host) == wanted
        for _, found in table
    )


def count_waiting(address: Address, but: set[int]) -> int:
    """The number of connections in the accept queues of a TCP address, without the sockets of these
    inodes; 0 for other kinds of addresses. Raises OSError.
    """
    name = {Family.INET: "tcp", Family.INET6: "tcp6"}.get(address.family)
    if name is None or address.kind is not Kind.STREAM:
        return 0
    number = next(one[1] for one in _TABLES if one[0] == name)
    with open(f"/proc/net/{name}") as table:
        lines = table.read().splitlines()[1:]
    # The receive queue of a listening socket is the length of its accept queue.
    queues = {int(f[9]): int(f[4].partition(":")[2], 16) for f in map(str.split, lines)}
    found = _table(f"/proc/net/{name}", number, address.family, address.kind)
    return sum(queues.get(inode, 0) for inode, at in found if at == address and inode not in but)


def find_bound(pids: Iterable[int]) -> list[Bound]:
    """The listening sockets of some processes, by inode; only those of our network namespace.

    Anybody can make a namespace of their own, and listen there on any port without any rights.
    Raises OSError; PermissionError if we may not inspect the processes.
    """
    found: dict[int, Bound] = {}
    unix = {one.inode: one for one in sock_diag.unix_listeners()}
    for pid in pids:
        sockets = procfs.sockets(pid)
        table = _ports_of(pid) if sockets and _in_our_network(pid) else {}
        for fd, inode in sorted(sockets.items()):
            if inode in unix:
                address = Address(Family.UNIX, Kind.STREAM, _host(unix[inode].name))
                found.setdefault(inode, Bound(address, inode, pid, fd, unix[inode].file))
            elif inode in table:
                found.setdefault(inode, Bound(table[inode], inode, pid, fd))
    return [found[inode] for inode in sorted(found)]


def duplicate(one: Bound) -> socket.socket:
    """A duplicate of the program's own socket. Raises OSError."""
    found = socket.socket(fileno=pidfd.getfd(one.pid, one.fd))
    if os.fstat(found.fileno()).st_ino != one.inode:
        found.close()
        raise OSError("the program has another socket under this descriptor now")
    return found


def is_private(address: Address) -> bool:
    """Whether the address is for a program's internal use, or an ephemeral port."""
    if address.family is Family.UNIX:
        return bool(_PRIVATE.search(address.host)) or not address.host.startswith(("/", "@"))
    return address.port in _ephemeral()


def _ephemeral() -> range:
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first, last = map(int, file.read().split())
    return range(first, last + 1)


def _in_our_network(pid: int) -> bool:
    """Whether a process is in our network namespace: namespaces(7). Raises OSError."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net"))
    except FileNotFoundError:
        return False  # It has ended.


def _ports_of(pid: int) -> dict[int, Address]:
    """Inode → address of all sockets that listen on a port in a process's network namespace."""
    found: dict[int, Address] = {}
    for name, number, family, kind in _TABLES:
        # The kernel has no IPv6, or the process has ended.
        with contextlib.suppress(FileNotFoundError):
            found |= _table(f"/proc/{pid}/net/{name}", number, family, kind)
    return found


def _table(path: str, number: int, family: Family, kind: Kind) -> Iterator[tuple[int, Address]]:
    with open(path) as table:
        next(table)
        for line in table:
            fields = line.split(None, 10)
            host, _, port = fields[1].partition(":")
            connected = int(fields[2].rpartition(":")[2], 16)
            if connected if kind is Kind.DATAGRAM else fields[3] != _LISTEN:
                continue
            # Each 32-bit word is printed in the machine's byte order.
            words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
            text = socket.inet_ntop(number, struct.pack(f"={len(words)}I", *words))
            yield int(fields[9]), Address(family, kind, text, int(port, 16))


def _host(name: bytes) -> str:
    """A socket's name in the form of Address.host."""
    if name.startswith(b"\0"):
        return f"@{os.fsdecode(name[1:])}"
    path = os.fsdecode(name)
    return os.path.normpath(path) if path.startswith("/") else path
