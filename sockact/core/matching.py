"""Matching: which listener a program's bind() belongs to.

The port (or the path, or the abstract name) decides; the IP address does not, because systemd may
listen on 0.0.0.0:8000 for a program that is configured for 127.0.0.1:8000. The address family has
to match: otherwise the program would see peer addresses that it does not expect. But a socket that
takes connections of both families (as Java, Go and gRPC use) fits an IPv4 listener, too.

Within one generation, two binds of one address conflict as they would in the kernel.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAPPED = "::ffff:"
"""What an IPv4 address begins with on an IPv6 socket: ipv6(7)."""


class Family(Enum):
    """The address family of a socket."""

    INET = "inet"
    INET6 = "inet6"
    UNIX = "unix"


class Kind(Enum):
    """The type of a socket."""

    STREAM = "stream"
    DATAGRAM = "datagram"


@dataclass(frozen=True)
class Address:
    """A local socket address.

    For INET and INET6, `host` is the numeric address. For UNIX, `host` is an absolute path, or a
    name in the abstract namespace that begins with "@" (as systemd writes it), and `port` is 0.
    """

    family: Family
    kind: Kind
    host: str
    port: int = 0

    @property
    def is_file(self) -> bool:
        """Whether it is the path of a socket file."""
        return self.family is Family.UNIX and self.host[:1] == "/"

    def __str__(self) -> str:
        prefix = "udp:" if self.kind is Kind.DATAGRAM and self.family is not Family.UNIX else ""
        if self.family is Family.UNIX:
            return self.host
        if self.family is Family.INET6:
            return f"{prefix}[{self.host}]:{self.port}"
        return f"{prefix}{self.host}:{self.port}"


@dataclass(frozen=True)
class Traits:
    """Options of the program's own socket that decide about its bind(): ipv6(7), socket(7)."""

    only_ipv6: bool = False
    """IPV6_V6ONLY."""
    reuse_address: bool = False
    """SO_REUSEADDR."""
    reuse_port: bool = False
    """SO_REUSEPORT."""


@dataclass(frozen=True)
class Denied:
    """A bind() that fails with the errno `error`; `message` says what to change, if anything."""

    error: int
    message: str = ""


@dataclass(frozen=True)
class Adopted:
    """The bind belongs to the listener with this index."""

    index: int


@dataclass(frozen=True)
class Unmatched:
    """The bind belongs to no listener: the kernel binds."""


@dataclass(frozen=True)
class Refused:
    """A listener of another address family has the port; `message` says what to change."""

    message: str


def match(
    wanted: Address, listeners: tuple[Address, ...], *, takes_ipv4: bool = False
) -> Adopted | Unmatched | Refused:
    """Find the listener for a bind() of `wanted`. An equal address wins over an equal port.

    `takes_ipv4`: if the address is [::], the program's socket also takes IPv4 connections.
    """
    same = [
        (index, listener)
        for index, listener in enumerate(listeners)
        if listener.kind is wanted.kind and _identity(listener) == _identity(wanted)
    ]
    for one in _forms(wanted, takes_ipv4):
        of_family = [(i, listener) for i, listener in same if listener.family is one.family]
        exact = [i for i, listener in of_family if listener.host == one.host]
        if exact:
            return Adopted(exact[0])
        if of_family:
            return Adopted(of_family[0][0])
    if same:
        return Refused(_another_family(wanted, same[0][1]))
    return Unmatched()


def _forms(wanted: Address, takes_ipv4: bool) -> tuple[Address, ...]:
    """The address as its own family has it and, for TCP, as IPv4 has it; the best first."""
    if wanted.family is not Family.INET6 or wanted.kind is not Kind.STREAM:
        return (wanted,)
    if (ipv4 := unmapped(wanted)) != wanted:
        return ipv4, wanted
    if takes_ipv4 and wanted.host == "::":
        return wanted, replace(wanted, family=Family.INET, host="0.0.0.0")
    return (wanted,)


def beside(wanted: Address, bound: Iterable[Address]) -> str:
    """What to change if a program binds a port for one family that it has for the other; "" if it
    does not.
    """
    for one in bound:
        if (one.kind, one.port) == (wanted.kind, wanted.port):
            setting = "ListenStream=" if wanted.kind is Kind.STREAM else "ListenDatagram="
            plain = str(wanted).removeprefix("udp:")
            return (
                f"the program binds {wanted} beside {one}; add {setting}{plain} and "
                f"BindIPv6Only=ipv6-only (or --listen {wanted})"
            )
    return ""


def unmapped(address: Address) -> Address:
    """An IPv4-mapped address (::ffff:127.0.0.1) as IPv4 has it; any other one as it is."""
    if address.family is Family.INET6 and address.host.startswith(_MAPPED) and "." in address.host:
        return replace(address, family=Family.INET, host=address.host.removeprefix(_MAPPED))
    return address


def has_ipv4_twin(address: Address, others: Iterable[Address]) -> bool:
    """Whether an address is [::] and another one has its port for IPv4. The socket at [::] must not
    take IPv4 connections then (IPV6_V6ONLY, BindIPv6Only=ipv6-only).
    """
    return address.host == "::" and any(
        other.family is Family.INET and (other.kind, other.port) == (address.kind, address.port)
        for other in others
    )


def conflict(
    first: Address, has: Traits, second: Address, wants: Traits, *, listens: bool = True
) -> bool:
    """Whether the second bind() fails with EADDRINUSE while the socket of the first is open.

    Both belong to one listener. `listens`: the first socket listens.
    """
    if first.family is not Family.UNIX:
        if has.reuse_port and wants.reuse_port:
            return False
        if has.reuse_address and wants.reuse_address:
            if first.kind is Kind.DATAGRAM or not listens:
                return False
    return first.host == second.host or bool({first.host, second.host} & {"0.0.0.0", "::"})


def _identity(address: Address) -> tuple[bool, str | int]:
    if address.family is Family.UNIX:
        return True, address.host
    # Port 0 asks the kernel for any free port, which is never a listener's.
    return False, address.port or ""


def _another_family(wanted: Address, listener: Address) -> str:
    setting = "ListenStream=" if wanted.kind is Kind.STREAM else "ListenDatagram="
    plain = str(wanted).removeprefix("udp:")
    return (
        f"the program binds {wanted}, but the listener is {listener}; "
        f"write {setting}{plain} (or --listen {wanted}), or make the program bind {listener}"
    )
