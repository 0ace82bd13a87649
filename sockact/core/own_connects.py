"""Connections of a program to its own address, by which it looks whether the address is free.

Puma, Unicorn, php-fpm, CherryPy and many start scripts connect before they bind. By itself, such a
program would find nobody there.
"""

from __future__ import annotations

from sockact.core.matching import Address, Family, Kind, unmapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NETLINK, _INET, _INET6, _UNIX, _STORAGE = 12, 16, 28, 110, 128
"""Lengths of struct sockaddr_nl, sockaddr_in, sockaddr_in6, sockaddr_un and sockaddr_storage."""
_KNOWN = ("puma", "unicorn", "unicorn_rails", "rainbows", "php-fpm")
"""Programs that look whether their socket file is free, always with a whole struct sockaddr_un.
They are not written in Python, so no shim reaches them."""
_WORDS = 4
_SIGNS = "in use", "already", "another "
ADVICE = (
    "if it connects to its own address first, to see whether it is free, use --adopt "
    "seccomp-connect"
)
"""For a program that ended without a bind()."""


def tell(lines: Iterable[str]) -> bool:
    """Whether what a program has written tells that it found its address in use."""
    return any(sign in line.lower() for line in lines for sign in _SIGNS)


def known_lengths(command: Sequence[str], listeners: Iterable[Address]) -> frozenset[int]:
    """The same as `lengths`, for a command that is known for looking; empty for others."""
    if not any(a.is_file for a in listeners):
        return frozenset()
    # `php-fpm8.2`, `ruby /usr/bin/puma`, `bundle exec puma`
    names = (word.rpartition("/")[2].rstrip("0123456789.") for word in command[:_WORDS])
    return frozenset({_UNIX} if any(name in _KNOWN for name in names) else ())


def lengths(listeners: Iterable[Address]) -> frozenset[int]:
    """Lengths of the addresses in those calls of connect(2) that may be to one of the listeners."""
    found: set[int] = set()
    for address in listeners:
        if address.kind is not Kind.STREAM:
            continue
        if address.family is Family.UNIX:
            # The path may be relative, or lead through other links.
            size = 2 + len(address.host.encode("utf-8", "surrogateescape"))
            others = {*range(3, _UNIX + 1)} - {_NETLINK, _INET, _INET6}
            found |= {size, size + 1} | others  # Most languages add the NUL.
            continue
        found |= {_INET6 if address.family is Family.INET6 else _INET, _STORAGE}
        if address.host == "::":
            found.add(_INET)
    return frozenset(found)


def words(listeners: Iterable[Address]) -> list[str]:
    """The ports and base names of the listeners, for the shim."""
    found = []
    for address in listeners:
        if address.kind is Kind.STREAM:
            name = address.host.removeprefix("@").rpartition("/")[2]
            raw = name.encode("utf-8", "surrogateescape").hex()
            found.append(f"unix:{raw}" if address.family is Family.UNIX else str(address.port))
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
