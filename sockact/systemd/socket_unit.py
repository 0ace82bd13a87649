"""The .socket unit that takes the addresses of a running program over, as they are."""

from __future__ import annotations

import grp
import os
import pwd
import socket

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind
from sockact.kernel import pidfd
from sockact.systemd import listening, units
from sockact.systemd.hardening import Setting
from sockact.systemd.unitfile import escape_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.systemd.listening import Bound


def choose(found: Sequence[Bound], wanted: Sequence[Address]) -> tuple[list[Bound], list[Bound]]:
    """The sockets to take over, and those to leave alone: all but the `wanted`, if there are any,
    else those that the program chooses anew at each start.
    """
    kept, left = [], []
    for one in found:
        if one.address in wanted or not (wanted or listening.is_private(one.address)):
            kept.append(one)
        else:
            left.append(one)
    return kept, left


def listen_line(address: Address) -> str:
    """A line of its Listen property, as `systemctl show` has it."""
    kind = "Stream" if address.kind is Kind.STREAM else "Datagram"
    return f"{str(address).removeprefix('udp:')} ({kind})"


def text(
    name: str,
    addresses: tuple[Address, ...],
    bound: Sequence[Bound],
    *,
    label: str,
    user_unit: bool,
) -> str:
    """NAME.socket, whose listeners have the name `label`, if any.

    Raises OperatorError, and ValueError for a path that no unit can have.
    """
    settings = tuple(_settings(addresses, bound, user_unit=user_unit))
    plan = units.Plan(
        name=name,
        start="",
        reload="",
        addresses=addresses,
        label=label,
        user_unit=user_unit,
        socket_settings=settings,
    )
    return units.socket(plan)


def _settings(
    addresses: tuple[Address, ...], bound: Sequence[Bound], *, user_unit: bool
) -> Iterator[Setting]:
    both = [a for a in addresses if a.family is Family.INET6 and a.host == "::"]
    if both:
        alone = any(_only_ipv6(one, addresses) for one in bound if one.address in both)
        alone = alone or any(_plain(one, addresses) for one in both)
        yield Setting("BindIPv6Only", "ipv6-only" if alone else "both")
    found = {_rights(path) for path in units.unix_paths(addresses) if os.path.exists(path)}
    if len(found) > 1:
        raise OperatorError(
            "its socket files have different owners or modes, and one .socket unit has one for "
            "all: make them equal"
        )
    for user, group, mode in found:
        if not user_unit:
            yield Setting("SocketUser", escape_value(user))
            yield Setting("SocketGroup", escape_value(group))
        yield Setting("SocketMode", mode)


def _only_ipv6(one: Bound, addresses: tuple[Address, ...]) -> bool:
    """Does it leave IPv4 to others?"""
    try:
        with socket.socket(fileno=pidfd.getfd(one.pid, one.fd)) as duplicate:
            return bool(duplicate.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError:
        return _plain(one.address, addresses)


def _plain(address: Address, addresses: tuple[Address, ...]) -> bool:
    """Is there one of IPv4 with the same port? Then they cannot both have it."""
    return any(
        other.family is Family.INET and (other.kind, other.port) == (address.kind, address.port)
        for other in addresses
    )


def _rights(path: str) -> tuple[str, str, str]:
    """Owner, group and mode of a socket file."""
    found = os.stat(path)
    try:
        user = pwd.getpwuid(found.st_uid).pw_name
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        user, group = str(found.st_uid), str(found.st_gid)
    return user, group, f"{found.st_mode & 0o777:04o}"
