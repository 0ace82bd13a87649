"""The .socket unit that takes the addresses of a running program over, as they are."""

from __future__ import annotations

import contextlib
import os
import re
import socket

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind
from sockact.kernel import procfs
from sockact.units import listening, socket_files
from sockact.units.hardening import Setting
from sockact.units.render import service_units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from sockact.units.facts import Facts
    from sockact.units.listening import Bound

_NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)", re.ASCII)


def named_ports(facts: Facts) -> Container[int]:
    """Every number in the service's files, its command line and its environment."""
    service = facts.service
    texts = [*facts.start]
    for lines in service.files.get("Service", {}).values():
        texts += lines
    with contextlib.suppress(OSError, ValueError):
        environment = procfs.initial_environment(int(service.get("MainPID")))
        texts += map(os.fsdecode, environment.values())
    # A socket file has port 0.
    return {int(number) for text in texts for number in _NUMBER.findall(text)} - {0}


def choose(
    found: Sequence[Bound], wanted: Sequence[Address], named: Container[int] = ()
) -> tuple[list[Bound], list[Bound]]:
    """The sockets to take over, and those to leave alone: all but the `wanted`, if there are any,
    else those that the program chooses anew at each start. Ports that are `named` are not.
    """
    kept, left = [], []
    for one in found:
        private = listening.is_private(one.address) and one.address.port not in named
        if one.address in wanted or not (wanted or private):
            kept.append(one)
        else:
            left.append(one)
    return kept, left


def check_files(bound: Sequence[Bound], wanted: Sequence[Address], *, user_unit: bool) -> None:
    """Raises OperatorError for a path at which systemd must not bind: the program has chosen it,
    and systemd removes what is there.
    """
    for path in service_units.unix_paths(tuple(wanted)):
        if os.path.lexists(path) and not socket_files.rights(path):
            raise OperatorError(f"{path} is there, and no socket: move it away")
    for one in bound:
        if one.file is None or one.address in wanted:
            continue
        path = one.address.host
        if not socket_files.is_file(path, one.file):
            raise OperatorError(
                f"it listens on {path!r}, which is not there for others (PrivateTmp= and the like, "
                f"or it was removed): write --listen with the path that its clients use"
            )
        folder = "" if user_unit else socket_files.bent_by(path)
        if folder:
            raise OperatorError(
                f"it listens on {path}, and {folder} is not root's alone: whoever may write there "
                f"could lead systemd elsewhere; let it listen in /run, or if you trust them, "
                f"write --listen {path}"
            )


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
    plan = service_units.Plan(
        name=name,
        start="",
        reload="",
        addresses=addresses,
        label=label,
        user_unit=user_unit,
        socket_settings=settings,
    )
    return service_units.socket(plan)


def _settings(
    addresses: tuple[Address, ...], bound: Sequence[Bound], *, user_unit: bool
) -> Iterator[Setting]:
    both = [a for a in addresses if a.family is Family.INET6 and a.host == "::"]
    if both:
        alone = any(_only_ipv6(one, addresses) for one in bound if one.address in both)
        alone = alone or any(_plain(one, addresses) for one in both)
        yield Setting("BindIPv6Only", "ipv6-only" if alone else "both")
    paths = service_units.unix_paths(addresses)
    found = {rights for rights in map(socket_files.rights, paths) if rights}
    if len(found) > 1:
        raise OperatorError(
            "its socket files have different owners or modes, and one .socket unit has one for "
            "all: make them equal"
        )
    for user, group, mode in found:
        if not user_unit:
            yield from socket_files.owner(paths, user, group)
        yield Setting("SocketMode", mode)


def _only_ipv6(one: Bound, addresses: tuple[Address, ...]) -> bool:
    """Does it leave IPv4 to others?"""
    try:
        with listening.duplicate(one) as duplicate:
            return bool(duplicate.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError:
        return _plain(one.address, addresses)


def _plain(address: Address, addresses: tuple[Address, ...]) -> bool:
    """Is there one of IPv4 with the same port? Then they cannot both have it."""
    return any(
        other.family is Family.INET and (other.kind, other.port) == (address.kind, address.port)
        for other in addresses
    )
