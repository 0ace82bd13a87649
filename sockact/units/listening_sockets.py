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
_TABLES = {
    (Family.INET, Kind.STREAM): "tcp",
    (Family.INET6, Kind.STREAM): "tcp6",
    (Family.INET, Kind.DATAGRAM): "udp",
    (Family.INET6, Kind.DATAGRAM): "udp6",
}
_NUMBERS = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}
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


@dataclass(frozen=True)
class _Port:
    """A socket that listens on a port, or a UDP socket."""

    inode: int
    address: Address
    waiting: int
    """The length of its accept queue."""


def find_free(addresses: Iterable[Address]) -> list[Address]:
    """Those of the addresses that are certainly not in use. Reads each table once."""
    tables: dict[object, set[tuple[str, int]]] = {}
    free = []
    for address in addresses:
        try:
            which = address.family, address.kind
            if which not in tables:
                tables[which] = _in_use(*which)
            if _spelled(address) not in tables[which]:
                free.append(address)
        except OSError:
            continue
    return free


def is_in_use(address: Address) -> bool:
    """Whether a process of this network namespace listens on the address. Raises OSError."""
    return _spelled(address) in _in_use(address.family, address.kind)


def count_waiting(address: Address, but: set[int]) -> int:
    """The number of connections in the accept queues of a TCP address, without the sockets of these
    inodes; 0 for other kinds of addresses. Raises OSError.
    """
    if address.family is Family.UNIX or address.kind is not Kind.STREAM:
        return 0
    found = _ports(address.family, address.kind)
    return sum(one.waiting for one in found if one.address == address and one.inode not in but)


def find_bound(pids: Iterable[int]) -> list[Bound]:
    """The listening sockets of some processes, by inode; only those of our network namespace.

    Anybody can make a namespace of their own, and listen there on any port without any rights.
    Raises OSError; PermissionError if we may not inspect the processes.
    """
    # Before the tables: what a process has then is in them.
    sockets = [(pid, procfs.sockets(pid)) for pid in pids]
    ours = {pid for pid, own in sockets if own and _in_our_network(pid)}
    table = _all_ports() if ours else {}
    unix = {one.inode: one for one in sock_diag.unix_listeners()}
    found: dict[int, Bound] = {}
    for pid, own in sockets:
        for fd, inode in sorted(own.items()):
            if inode in unix:
                address = Address(Family.UNIX, Kind.STREAM, _host(unix[inode].name))
                found.setdefault(inode, Bound(address, inode, pid, fd, unix[inode].file))
            elif inode in table and pid in ours:
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


def _in_use(family: Family, kind: Kind) -> set[tuple[str, int]]:
    """Host and port of the addresses in use. Raises OSError."""
    if family is Family.UNIX:
        return {(_host(one.name), 0) for one in sock_diag.unix_listeners()}
    return {(one.address.host, one.address.port) for one in _ports(family, kind)}


def _spelled(address: Address) -> tuple[str, int]:
    """Host and port as in the tables."""
    if address.family is Family.UNIX:
        return address.host, 0
    number = _NUMBERS[address.family]
    packed = socket.inet_pton(number, address.host.partition("%")[0])
    return socket.inet_ntop(number, packed), address.port


def _all_ports() -> dict[int, Address]:
    """Inode → address of all sockets of our network namespace that listen on a port."""
    found: dict[int, Address] = {}
    for family, kind in _TABLES:
        # The kernel may have no IPv6.
        with contextlib.suppress(FileNotFoundError):
            found |= {one.inode: one.address for one in _ports(family, kind)}
    return found


def _ports(family: Family, kind: Kind) -> Iterator[_Port]:
    with open(f"/proc/net/{_TABLES[family, kind]}") as table:
        next(table)
        for line in table:
            fields = line.split(None, 10)
            host, _, port = fields[1].partition(":")
            connected = int(fields[2].rpartition(":")[2], 16)
            if connected if kind is Kind.DATAGRAM else fields[3] != _LISTEN:
                continue
            # Each 32-bit word is printed in the machine's byte order.
            words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
            text = socket.inet_ntop(_NUMBERS[family], struct.pack(f"={len(words)}I", *words))
            # The receive queue of a listening socket is the length of its accept queue.
            waiting = int(fields[4].partition(":")[2], 16)
            yield _Port(int(fields[9]), Address(family, kind, text, int(port, 16)), waiting)


def _host(name: bytes) -> str:
    """A socket's name in the form of Address.host."""
    if name.startswith(b"\0"):
        return f"@{os.fsdecode(name[1:])}"
    path = os.fsdecode(name)
    return os.path.normpath(path) if path.startswith("/") else path
