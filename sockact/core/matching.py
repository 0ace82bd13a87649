"""Matching: which listener a program's bind() belongs to.

The port (or the path, or the abstract name) decides; the IP address does not, because systemd may
listen on 0.0.0.0:8000 for a program that is configured for 127.0.0.1:8000. The address family has
to match: otherwise the program would see peer addresses that it does not expect.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.record import dataclass


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

    def __str__(self) -> str:
        prefix = "udp:" if self.kind is Kind.DATAGRAM and self.family is not Family.UNIX else ""
        if self.family is Family.UNIX:
            return self.host
        if self.family is Family.INET6:
            return f"{prefix}[{self.host}]:{self.port}"
        return f"{prefix}{self.host}:{self.port}"


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


def match(wanted: Address, listeners: tuple[Address, ...]) -> Adopted | Unmatched | Refused:
    """Find the listener for a bind() of `wanted`. An equal address wins over an equal port."""
    same = [
        (index, listener)
        for index, listener in enumerate(listeners)
        if listener.kind is wanted.kind and _identity(listener) == _identity(wanted)
    ]
    of_family = [(i, listener) for i, listener in same if listener.family is wanted.family]
    exact = [i for i, listener in of_family if listener.host == wanted.host]
    if exact:
        return Adopted(exact[0])
    if of_family:
        return Adopted(of_family[0][0])
    if same:
        return Refused(_another_family(wanted, same[0][1]))
    return Unmatched()


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
