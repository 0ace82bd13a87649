"""Connections of a program to its own address, by which it looks whether the address is free.

Puma, Unicorn, php-fpm, CherryPy and many start scripts connect before they bind. By itself, such a
program would find nobody there.
"""

from __future__ import annotations

from sockact.core.matching import Address, Family, Kind, unmapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NETLINK, _INET, _INET6, _UNIX, _STORAGE = 12, 16, 28, 110, 128
"""Lengths of struct sockaddr_nl, sockaddr_in, sockaddr_in6, sockaddr_un and sockaddr_storage."""
_FIRST_INET, _FIRST_UNIX = 16, 64
"""Descriptors below these are of the first that a program opens."""


def lengths(listeners: Iterable[Address]) -> dict[int, int]:
    """For the filter of connect(2): length of an address → limit of the descriptor's number.

    It should let pass what a program connects to while it serves: each call that it stops takes
    about 40 µs longer.
    """
    found: dict[int, int] = {}
    for address in listeners:
        if address.kind is not Kind.STREAM:
            continue
        if address.family is Family.UNIX:
            # The path may be relative, or lead through other links.
            size = 2 + len(address.host.encode("utf-8", "surrogateescape"))
            others = {*range(3, _UNIX + 1)} - {_NETLINK, _INET, _INET6}
            found |= dict.fromkeys({size, size + 1, *others}, _FIRST_UNIX)
            continue
        sizes = {_INET6 if address.family is Family.INET6 else _INET, _STORAGE}
        for length in sizes | ({_INET} if address.host == "::" else set()):
            found.setdefault(length, _FIRST_INET)
    return found


def is_own(wanted: Address, listener: Address) -> bool:
    """Whether a connection to `wanted` goes to the listener, as far as the addresses tell.

    A remote address is never the listener's.
    """
    if wanted.kind is not listener.kind or wanted.kind is not Kind.STREAM:
        return False
    if wanted.family is Family.UNIX or listener.family is Family.UNIX:
        return wanted == listener
    wanted, listener = unmapped(wanted), unmapped(listener)
    if wanted.port != listener.port:
        return False
    if wanted.family is not listener.family:
        return listener.host == "::" and _is_loopback(wanted.host)
    if listener.host in ("0.0.0.0", "::"):
        return _is_loopback(wanted.host)
    # connect(2) takes the unspecified address for a loopback one.
    return wanted.host == listener.host or (
        wanted.host in ("0.0.0.0", "::") and _is_loopback(listener.host)
    )


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "0.0.0.0", "::")
