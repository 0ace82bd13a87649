"""Groups of listening (or UDP) sockets at one address, and which of them gets new clients.

socket(7): to bind(2) beside a listening socket, both need SO_REUSEPORT (Linux 3.9) and the same
owner. A socket that listens already can get both through a duplicate of its descriptor: by
setsockopt(2) and by fchown(2) (Linux 4.10). The members of a group are numbered from 0 in the order
of listen(2) (UDP: bind(2)); when one is closed, the last takes its number. A classic BPF program of
the group (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5) returns the number of the member that gets a new
connection, or a datagram. It sees the packet, whose IP header is at SKF_NET_OFF. Where the number
is none of the group's, the kernel chooses by a hash. No privilege is needed. Unix sockets have no
groups.

What waits in a member that is shut down is reset, or moved to another member, chosen by a hash:
ip-sysctl(5) of the kernel's documentation, tcp_migrate_req (Linux 5.14). Functions raise OSError.
"""

from __future__ import annotations

import errno
import os
import socket

from sockact.core.record import dataclass
from sockact.kernel import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.kernel.bpf import Instruction

WHOLE = 1000
"""All clients, as a share."""

_LONGEST_DEVICE = 16
_MIGRATES = "/proc/sys/net/ipv4/tcp_migrate_req"
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68
# Offsets of linux/filter.h: skb->protocol, a random number, and the IP header.
_PROTOCOL, _RANDOM, _NETWORK = -0x1000, -0x1000 + 56, -0x100000
_ETH_P_IP = 0x0800
# Source address and port, in IPv4 without options and in IPv6 without extension headers.
_ADDRESS_4, _PORT_4 = _NETWORK + 12, _NETWORK + 20
_ADDRESS_6, _PORT_6 = _NETWORK + 8, _NETWORK + 40
_VERSIONS = {socket.AF_INET: 4, socket.AF_INET6: 6}
# Version → where the source address begins, how many words it has, and where the port is.
_SOURCES = {4: (_ADDRESS_4, 1, _PORT_4), 6: (_ADDRESS_6, 4, _PORT_6)}
# The finalizer of MurmurHash3, which spreads clients with similar addresses evenly.
_MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
_LAST_SHIFT = 16
_COMBINE = 0x9E3779B1


@dataclass(frozen=True)
class Steering:
    """Which member of a group gets whom."""

    default: int
    """The member that gets all others."""
    shares: tuple[tuple[int, int], ...] = ()
    """(member, share of the clients in thousandths)."""
    by_client: bool = False
    """Choose by the client's address, so that no client sees two members, not at random.

    UDP datagrams are never steered at random but by source address and port, as they would be
    torn apart otherwise.
    """
    salt: int = 0
    """Changes which clients belong to a share: any 32-bit number."""
    private: tuple[tuple[str, int, int], ...] = ()
    """(source address, source port, member): what comes from there goes to this member."""


def attach(member: socket.socket, steering: Steering) -> None:
    """Steer all new clients of the socket's group from now on."""
    program = bpf.Program(*_instructions(member, steering))
    member.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program.fprog)


def detach(member: socket.socket) -> None:
    """Undo `attach`: the kernel spreads new clients over all members (Linux 5.3)."""
    member.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)


def migrates() -> bool | None:
    """Whether the kernel moves what waits in a member that is shut down; None if this kernel never
    does. Raises nothing.
    """
    try:
        with open(_MIGRATES) as file:
            return file.read().strip() == "1"
    except OSError:
        return None


def is_member(found: socket.socket) -> bool:
    """Whether a socket of a group is still in it. To `attach` by one that was shut down would begin
    another group with that alone, and it could not listen beside the others again.
    """
    if found.type != socket.SOCK_STREAM:
        return True
    return bool(found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def device(member: socket.socket) -> bytes:
    """The network device to which the socket is bound, b"" for none. A group has one device."""
    name = member.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _LONGEST_DEVICE)
    return name.partition(b"\0")[0]


def share(listener: socket.socket, owner: int) -> None:
    """Let sockets of this user that have SO_REUSEPORT be bound beside a listening one."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    os.fchown(listener.fileno(), owner, -1)


def prepare(new: socket.socket) -> None:
    """Make a socket that is not bound yet the first of a group, which gets all clients."""
    new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    attach(new, Steering(0))


def begin(listener: socket.socket) -> None:
    """Steer to this socket before another one is bound beside it, so that no connection ever gets
    lost to the other one. The kernel keeps the choice of a port only for sockets that share it, so
    a socket that drops every packet listens beside it for a moment.
    """
    try:
        attach(listener, Steering(0))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    else:
        return  # It has a group already.
    with _beside(listener) as other:
        bpf.attach_filter(other, bpf.Program((bpf.RETURN, 0, 0, 0)))
        _listen(other, listener, 1)
        attach(listener, Steering(0))


def join(listener: socket.socket, backlog: int) -> socket.socket:
    """Open one more socket in the group of a socket for which `begin` was called."""
    other = _beside(listener)
    try:
        _listen(other, listener, backlog)
    except OSError:
        other.close()
        raise
    return other


def _beside(listener: socket.socket) -> socket.socket:
    """A socket of the same kind, not bound yet."""
    other = socket.socket(listener.family, listener.type)
    # The second one is for addresses of connections that are open.
    for option in (socket.SO_REUSEPORT, socket.SO_REUSEADDR):
        other.setsockopt(socket.SOL_SOCKET, option, 1)
    if name := device(listener):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
    if listener.family == socket.AF_INET6:
        alone = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
    return other


def _listen(other: socket.socket, listener: socket.socket, backlog: int) -> None:
    other.bind(listener.getsockname())
    if listener.type == socket.SOCK_STREAM:
        other.listen(backlog)


def _instructions(member: socket.socket, steering: Steering) -> list[Instruction]:
    by_port = member.type != socket.SOCK_STREAM
    if member.family != socket.AF_INET6:
        return _of_family(steering, 4, by_port)
    # A socket of IPv6 may take IPv4 clients, too.
    ipv4, ipv6 = (_of_family(steering, version, by_port) for version in (4, 6))
    return [
        _load(bpf.LOAD_WORD, _PROTOCOL),
        (bpf.JUMP_IF_EQUAL, 0, 1, _ETH_P_IP),
        (bpf.JUMP, 0, 0, len(ipv6)),
        *ipv6,
        *ipv4,
    ]


def _of_family(steering: Steering, version: int, by_port: bool) -> list[Instruction]:
    """The program for packets of one version of IP."""
    found: list[Instruction] = []
    for address, port, member in steering.private:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        if _VERSIONS[family] == version:
            found += _if_from(_SOURCES[version], socket.inet_pton(family, address), port, member)
    if steering.shares:
        if steering.by_client or by_port:
            found += _hash(version, by_port and not steering.by_client, steering.salt)
        else:
            found.append(_load(bpf.LOAD_WORD, _RANDOM))
        found.append((bpf.MODULO, 0, 0, WHOLE))
        below = 0
        for member, share_of in steering.shares:
            below += share_of
            found += [(bpf.JUMP_IF_AT_LEAST, 1, 0, below), (bpf.RETURN, 0, 0, member)]
    return [*found, (bpf.RETURN, 0, 0, steering.default)]


def _if_from(
    where: tuple[int, int, int], source: bytes, port: int, member: int
) -> Iterator[Instruction]:
    """Return `member` for packets from this address and port."""
    address_at, words, port_at = where
    tests = [
        (bpf.LOAD_WORD, address_at + at, int.from_bytes(source[at : at + 4]))
        for at in range(0, 4 * words, 4)
    ]
    tests.append((bpf.LOAD_HALF, port_at, port))
    for left, (load, at, value) in zip(range(len(tests), 0, -1), tests, strict=True):
        yield _load(load, at)
        # Past the remaining tests and the return.
        yield bpf.JUMP_IF_EQUAL, 0, 2 * left - 1, value
    yield bpf.RETURN, 0, 0, member


def _hash(version: int, with_port: bool, salt: int) -> list[Instruction]:
    """Leave a hash of the client's address in the accumulator."""
    at, count, port_at = _SOURCES[version]
    loads = [_load(bpf.LOAD_WORD, at + 4 * number) for number in range(count)]
    if with_port:
        loads.append(_load(bpf.LOAD_HALF, port_at))
    found: list[Instruction] = [(bpf.LOAD_CONSTANT, 0, 0, salt & 0xFFFFFFFF)]
    for load in loads:
        found += [(bpf.TO_X, 0, 0, 0), load, (bpf.XOR_X, 0, 0, 0), (bpf.MULTIPLY, 0, 0, _COMBINE)]
        found += _fold(_LAST_SHIFT)
    for shift, factor in _MIX:
        found += [*_fold(shift), (bpf.MULTIPLY, 0, 0, factor)]
    return [*found, *_fold(_LAST_SHIFT)]


def _fold(shift: int) -> Sequence[Instruction]:
    """Exclusive or of the accumulator and itself, shifted."""
    return (bpf.TO_X, 0, 0, 0), (bpf.SHIFT_RIGHT, 0, 0, shift), (bpf.XOR_X, 0, 0, 0)


def _load(code: int, at: int) -> Instruction:
    return code, 0, 0, at & 0xFFFFFFFF
