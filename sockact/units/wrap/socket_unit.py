"""The .socket unit that takes over the addresses of a running program."""

from __future__ import annotations

import contextlib
import os
import re
import socket

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind, has_ipv4_twin
from sockact.kernel import procfs
from sockact.units import listening_sockets, socket_files
from sockact.units.render import service_units
from sockact.units.unitfile import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from sockact.units.facts import Facts
    from sockact.units.listening_sockets import Bound

_NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)", re.ASCII)


def named_ports(facts: Facts) -> Container[int]:
    """Every number in the service's unit files, command line and environment."""
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
    """The sockets to take over, and those to leave to the program.

    The former are those at `wanted` addresses or, if there are none, all but private ones. A port
    in `named` is not private.
    """
    taken, left = [], []
    for one in found:
        private = listening_sockets.is_private(one.address) and one.address.port not in named
        if one.address in wanted or not (wanted or private):
            taken.append(one)
        else:
            left.append(one)
    return taken, left


def check_files(bound: Sequence[Bound], wanted: Sequence[Address], *, user_unit: bool) -> None:
    """Raises OperatorError for a path at which systemd must not bind, because it would remove a
    file there that the program has chosen.
    """
    for path in service_units.unix_paths(tuple(wanted)):
        if os.path.lexists(path) and not socket_files.rights(path):
            raise OperatorError(f"{path} exists and is not a socket; move it elsewhere")
    for one in bound:
        if one.file is None or one.address in wanted:
            continue
        path = one.address.host
        if not socket_files.is_file(path, one.file):
            raise OperatorError(
                f"the program listens on {path!r}, which others cannot see (because of PrivateTmp= "
                f"or the like, or because the file was removed); add --listen with the path that "
                f"its clients use"
            )
        directory = "" if user_unit else socket_files.redirectable_at(path)
        if directory:
            raise OperatorError(
                f"the program listens on {path}, but others than root can write to {directory} and "
                f"redirect systemd; make it listen in /run or, if you trust them, add "
                f"--listen {path}"
            )


def properties(addresses: Sequence[Address], lanes: int) -> dict[str, str]:
    """What `systemctl show` prints about the unit, once systemd has loaded it."""
    lines = [_listen_line(address) for address in addresses for _ in range(lanes)]
    reuse = "yes" if lanes > 1 else "no"
    return {"ActiveState": "inactive", "Listen": "\n".join(lines), "ReusePort": reuse}


def _listen_line(address: Address) -> str:
    kind = "Stream" if address.kind is Kind.STREAM else "Datagram"
    return f"{str(address).removeprefix('udp:')} ({kind})"


def check_lanes(bound: Sequence[Bound], lanes: int) -> None:
    """Raises OperatorError if the running program's sockets do not let systemd open lanes beside
    them: the kernel gives their numbers to systemd's when they close.
    """
    taken: set[Address] = set()
    for one in bound if lanes > 1 else ():
        if one.address.kind is Kind.DATAGRAM or one.address in taken:
            what = "a UDP socket" if one.address not in taken else "several sockets"
            raise OperatorError(
                f"the running program has {what} at {one.address}, beside which systemd cannot "
                f"open lanes; stop the service first (then --listen names its addresses), or add "
                f"--listen-lanes 0"
            )
        taken.add(one.address)


def text(
    name: str,
    addresses: tuple[Address, ...],
    bound: Sequence[Bound],
    *,
    lanes: int,
    label: str,
    user_unit: bool,
) -> str:
    """The text of NAME.socket; `lanes` is the number of lines for each address, `label` the name of
    its listeners, if any.

    Raises OperatorError, also for a path that a unit file cannot contain.
    """
    settings = tuple(_settings(addresses, bound, user_unit=user_unit))
    plan = service_units.Plan(
        name=name,
        start="",
        reload="",
        addresses=addresses,
        lanes=lanes,
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
        alone = alone or any(has_ipv4_twin(one, addresses) for one in both)
        yield Setting("BindIPv6Only", "ipv6-only" if alone else "both")
    paths = service_units.unix_paths(addresses)
    found = {rights for rights in map(socket_files.rights, paths) if rights}
    if len(found) > 1:
        raise OperatorError(
            "the program's socket files have different owners or modes, but a .socket unit has the "
            "same for all; make them equal"
        )
    for user, group, mode in found:
        if not user_unit:
            yield from socket_files.owner_settings(paths, user, group)
        yield Setting("SocketMode", mode)


def _only_ipv6(one: Bound, addresses: tuple[Address, ...]) -> bool:
    """Whether the socket accepts no IPv4 connections."""
    try:
        with listening_sockets.duplicate(one) as duplicate:
            return bool(duplicate.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    except OSError:
        return has_ipv4_twin(one.address, addresses)
