"""The listeners of a service: passed by systemd (sd_listen_fds(3)), or opened for --listen.

Addresses are written as in ListenStream= and ListenDatagram= of systemd.socket(5).
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind, has_ipv4_twin
from sockact.core.numbers import whole
from sockact.core.record import replace
from sockact.kernel.sockets import reuseport, upkeep
from sockact.kernel.sockets.listener import FAMILIES, Listener, address_of, of_socket
from sockact.systemd import listen_fds
from sockact.systemd.fdstore import Kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBERS = {family: number for number, family in FAMILIES.items()}
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
_CONNECTION = "connection"
"""The name of what systemd passes for Accept=yes: sd_listen_fds_with_names(3)."""
_LONGEST_QUEUE = 1 << 20  # The kernel limits it to net.core.somaxconn.
_PAUSE = 0.01
_EXAMPLES = "127.0.0.1:8000, [::1]:8000, 8000, /run/x.sock, @abstract or udp:127.0.0.1:5300"


def passed(environment: Mapping[str, str]) -> tuple[list[Listener] | None, Kept]:
    """The listeners that .socket units passed (None if there are none), and what systemd kept.

    Raises OperatorError if LISTEN_FDS cannot be read, or passes a descriptor that is no listener.
    """
    kept = Kept()
    if "LISTEN_FDS" not in environment:
        return None, kept
    found = [
        _from_fd(fd, name)
        for fd, name in listen_fds.passed(environment).items()
        if not kept.take(fd, name)
    ]
    return found or None, kept


def _from_fd(fd: int, name: str) -> Listener:
    try:
        found = socket.socket(fileno=fd)
    except OSError as error:
        raise OperatorError(
            f"descriptor {fd} of LISTEN_FDS is not a socket ({error.strerror})"
        ) from error
    found.set_inheritable(False)
    listener = _listener(name, found, owned=False)
    try:
        # A program of an earlier life of the service may have shut it down.
        if name != _CONNECTION and upkeep.has_lost_clients(listener):
            upkeep.listen_again(listener, _LONGEST_QUEUE)
        # A client's socket loses its port by that, one that systemd has bound does not.
        lost = upkeep.has_lost_clients(listener) or address_of(found) != listener.address
    except OSError:
        lost = True
    if lost:
        raise OperatorError(
            f"descriptor {fd} of LISTEN_FDS does not listen; write Accept=no in the .socket unit"
        )
    return listener


def _listener(name: str, found: socket.socket, *, owned: bool) -> Listener:
    # A Unix datagram socket has no connections to count, and no known server uses one.
    unix_datagram = (found.family, found.type) == (socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        if not unix_datagram:
            return of_socket(name, found, owned=owned)
    except KeyError:
        pass
    raise OperatorError(
        f"sockact cannot hand over listener {name} "
        f"({_name(found.family)}, {_name(found.type)}); use TCP, UDP or a Unix stream socket"
    )


def _name(constant: int) -> str:
    return str(getattr(constant, "name", constant))


def parse(text: str) -> tuple[str, Address]:
    """Parse the argument of --listen: (name, address). Raises OperatorError."""
    name, rest = _split(text)
    kind = Kind.STREAM
    if rest.startswith("udp:"):
        kind, rest = Kind.DATAGRAM, rest[4:]
    address = _parse_address(rest, kind)
    if address is None:
        raise OperatorError(f"--listen {text}: not an address; use, for example, {_EXAMPLES}")
    return name or str(address).replace(":", "_"), address


def _split(text: str) -> tuple[str, str]:
    """The NAME in NAME=ADDRESS, "" if there is none, and the address."""
    name, named, rest = text.partition("=")
    return (name, rest) if named and name and _NAME_CHARACTERS.issuperset(name) else ("", text)


def _is_bare_port(text: str) -> bool:
    port = _split(text)[1].removeprefix("udp:")
    return port.isascii() and port.isdecimal()


def _parse_address(text: str, kind: Kind) -> Address | None:
    if text.startswith(("/", "@")):
        valid = len(text) > 1 and len(os.fsencode(text)) <= 107 and "\0" not in text
        return Address(Family.UNIX, kind, text) if valid and kind is Kind.STREAM else None
    if text.isascii() and text.isdecimal():
        host = "::" if os.path.exists("/proc/net/if_inet6") else "0.0.0.0"
        return _inet(host, text, kind)
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        return _inet(host[1:-1], port, kind, Family.INET6)
    return _inet(host, port, kind, Family.INET)


def _inet(host: str, port: str, kind: Kind, family: Family | None = None) -> Address | None:
    last = whole(port, 65535)
    if not last:
        return None
    family = family or (Family.INET6 if ":" in host else Family.INET)
    try:
        # As bytes: for text, Python loads its tables of international names.
        name, number = host.encode("ascii"), _NUMBERS[family]
        found = socket.getaddrinfo(
            name, last, number, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except (OSError, UnicodeError):
        return None
    return Address(family, kind, str(found[0][4][0]), last)


def open_all(
    texts: tuple[str, ...],
    kept: Mapping[Address, socket.socket] | None = None,
    patience: float = 0.0,
    *,
    grouped: bool = False,
) -> list[Listener]:
    """Open a listener for every --listen argument, or for none.

    `kept` are sockets from the store, which listen already. An address in use may become free for
    `patience` seconds. `grouped`: others of ours are to listen beside it. Raises OperatorError.
    """
    kept = kept or {}
    deadline = time.monotonic() + patience
    parsed = [parse(text) for text in texts]
    _refuse_repeated(texts, [address for _, address in parsed])
    alone = only_ipv6(texts)
    opened: list[Listener] = []
    try:
        for name, address in parsed:
            try:
                found = kept.get(bound(address))
                opened.append(
                    _listener(name, found, owned=True)
                    if found
                    else _open_by(deadline, name, address, address in alone, grouped)
                )
            except _InUse as error:
                before = zip(texts, parsed[: len(opened)], strict=False)
                ours = [text for text, (_, other) in before if _overlap(address, other, alone)]
                raise OperatorError(_explain_in_use(address, ours)) from error
    except OperatorError:
        for listener in opened:
            listener.close(keep_file=listener.address in kept)
        raise
    return opened


def only_ipv6(texts: tuple[str, ...]) -> set[Address]:
    """The addresses of --listen that must not take IPv4 connections, because another --listen does.

    A port alone means both families.
    """
    parsed = [(text, parse(text)[1]) for text in texts]
    every = [address for _, address in parsed]
    return {a for text, a in parsed if has_ipv4_twin(a, every) and not _is_bare_port(text)}


def takes_as_wanted(found: socket.socket, address: Address, alone: set[Address]) -> bool:
    """Whether a socket at this address takes IPv4 connections, or not, as --listen wants it."""
    if address.host != "::":
        return True
    only = bool(found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
    return only is (address in alone)


def bound(address: Address) -> Address:
    """The address as getsockname(2) returns it for a socket that is bound to it."""
    return replace(address, host=os.path.abspath(address.host)) if address.is_file else address


class _InUse(Exception):
    """bind(2) failed with EADDRINUSE."""


def _refuse_repeated(texts: tuple[str, ...], addresses: list[Address]) -> None:
    seen: dict[tuple[Kind, str], str] = {}
    for text, address in zip(texts, addresses, strict=True):
        name = os.path.realpath(address.host) if address.is_file else str(address)
        key = (address.kind, name)
        if key in seen:
            raise OperatorError(f"--listen {text}: the same as --listen {seen[key]}; write it once")
        seen[key] = text


def _overlap(one: Address, other: Address, alone: set[Address]) -> bool:
    """Whether two of our own addresses, which are not the same, take the same port."""
    if (one.kind, one.port) != (other.kind, other.port):
        return False
    for address, beside in ((one, other), (other, one)):
        if address.host == "::" and (beside.family is Family.INET6 or address not in alone):
            return True
    return one.family is other.family is Family.INET and "0.0.0.0" in (one.host, other.host)


def _explain_in_use(address: Address, ours: list[str]) -> str:
    reason = os.strerror(errno.EADDRINUSE)
    advice = "another process uses it; stop that process, or choose another address"
    if ours:
        advice = f"--listen {ours[0]} covers it already; give only the wider address"
    elif address.family is Family.UNIX and (kind := _what_is_there(address.host)):
        reason, advice = f"it is a {kind}", "remove it, or choose another path"
        if kind == "directory":
            advice = f"choose a path inside it, such as {address.host.rstrip('/')}/NAME.sock"
    return f"cannot listen on {address}: {reason}; {advice}"


def _what_is_there(path: str) -> str:
    """The type of the file at the path; "" for a socket, or if there is no file."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return ""
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "regular file", stat.S_IFLNK: "symbolic link"}
    return "" if stat.S_ISSOCK(mode) else kinds.get(stat.S_IFMT(mode), "special file")


def _open_by(
    deadline: float, name: str, address: Address, only_ipv6: bool, grouped: bool
) -> Listener:
    while True:
        try:
            return _open(name, address, only_ipv6, grouped)
        except _InUse:
            # No event tells when another process has closed its socket.
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _open(name: str, address: Address, only_ipv6: bool, grouped: bool) -> Listener:
    kind = socket.SOCK_STREAM if address.kind is Kind.STREAM else socket.SOCK_DGRAM
    found = socket.socket(_NUMBERS[address.family], kind)
    try:
        if address.family is Family.UNIX:
            _bind_unix(found, address.host)
        else:
            if grouped:
                reuseport.prepare(found)
            _bind_inet(found, address, only_ipv6)
        if address.kind is Kind.STREAM:
            found.listen(_LONGEST_QUEUE)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise _InUse from error
        raise OperatorError(_explain_bind(address, error)) from error
    return _listener(name, found, owned=True)


def _bind_inet(found: socket.socket, address: Address, only_ipv6: bool) -> None:
    if address.kind is Kind.STREAM:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address.family is Family.INET6:
        # As BindIPv6Only= of systemd: [::] also accepts IPv4 clients, unless another --listen does.
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_ipv6))
    found.bind((address.host, address.port))


def _bind_unix(found: socket.socket, path: str) -> None:
    if path[0] == "@":
        found.bind(b"\0" + os.fsencode(path[1:]))
        return
    if _stale(path):
        os.unlink(path)
    # As SocketMode=0666, the default of systemd: whoever reaches the directory may connect.
    mask = os.umask(0o000)
    try:
        found.bind(path)
    finally:
        os.umask(mask)


def _stale(path: str) -> bool:
    """Whether the path is a socket file without a listener."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def _explain_bind(address: Address, error: OSError) -> str:
    hint = {
        errno.EACCES: "ports below 1024 and some directories need root; "
        "let a systemd .socket unit listen there",
        errno.EADDRNOTAVAIL: "no network interface of this machine has that address",
        errno.ENOENT: "its directory does not exist; create it first",
    }.get(error.errno or 0, "choose another address")
    return f"cannot listen on {address}: {error.strerror}; {hint}"
