"""The addresses on a program's command line, for servers whose options are known.

For `sockact check` and the like only: the supervisor sees the program's bind() itself.
"""

from __future__ import annotations

import ipaddress
import os

from sockact.core.matching import Address, Family, Kind, Refused, Unmatched, match

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# gunicorn, hypercorn, waitress; uvicorn, granian, flask, daphne, waitress; uvicorn; granian.
_ADDRESS = ("--bind", "-b", "--listen")
_HOST = ("--host", "-H")
_PORT = ("--port", "-p")
_PATH = ("--uds",)
_KNOWN = (
    *("gunicorn", "uvicorn", "hypercorn", "granian", "waitress-serve", "daphne", "flask"),
    *("python", "http.server"),
)


def mismatches(command: Sequence[str], listeners: Sequence[Address]) -> list[str]:
    """The program's addresses that no listener has, each with a remedy."""
    found = []
    for text, host, port in _named(command):
        problem = _mismatch(text, host, port, tuple(listeners))
        if problem and problem not in found:
            found.append(problem)
    return found


def find_first(command: Sequence[str]) -> str:
    """The first address, as --listen takes it; "" if there is none or the server is unknown."""
    for _, host, port in _named(command):
        if not port:
            return host
        return f"[{host}]:{port}" if ":" in host else f"{host or '127.0.0.1'}:{port}"
    return ""


def _named(command: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Each address: as written, its host or path, and its port (0 for a path)."""
    if not _is_known(command):
        return
    values = list(_options(command))
    for option, value in values:
        if option in _ADDRESS:
            yield from _split(value)
        elif option in _PATH:
            yield value, value, 0
    ports = [value for option, value in values if option in _PORT]
    if ports and ports[-1].isdecimal():
        hosts = [value for option, value in values if option in _HOST]
        host = hosts[-1] if hosts else ""
        yield f"{host or 'port'}:{ports[-1]}" if host else f"port {ports[-1]}", host, int(ports[-1])


def _is_known(command: Sequence[str]) -> bool:
    """Whether the program is a server whose options we know."""
    names = [os.path.basename(word) for word in command[:3]]
    return any(name.startswith(_KNOWN) for name in names)


def _options(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    known = (*_ADDRESS, *_HOST, *_PORT, *_PATH)
    for position, word in enumerate(command):
        option, equals, value = word.partition("=")
        if option in known and equals:
            yield option, value
        elif word in known and position + 1 < len(command):
            yield word, command[position + 1]
        elif word[:2] in known and len(word) > 2 and word[1] != "-":
            yield word[:2], word[2:]


def _split(value: str) -> Iterator[tuple[str, str, int]]:
    if value.startswith("unix:"):
        path = value.removeprefix("unix:").removeprefix("//")
        yield value, path, 0
        return
    host, _, port = value.rpartition(":")
    if port.isdecimal():
        yield value, host.strip("[]"), int(port)


def _mismatch(text: str, host: str, port: int, listeners: tuple[Address, ...]) -> str:
    """The problem with an address; empty if a listener has it, or if that cannot be known."""
    if not port:
        path = os.path.normpath(host)
        fits = any(listener.host == path for listener in listeners)
        return "" if fits or not os.path.isabs(host) else _explain(text, path)
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        # A host name, or none: its family is only known to the program.
        streams = [one for one in listeners if one.kind is Kind.STREAM]
        fits = any(listener.port == port for listener in streams)
        return "" if fits else _explain(text, f"127.0.0.1:{port}")
    family = Family.INET if number.version == 4 else Family.INET6
    wanted = Address(family, Kind.STREAM, str(number), port)
    found = match(wanted, listeners)
    if isinstance(found, Refused):
        return found.message
    return _explain(str(wanted), str(wanted)) if isinstance(found, Unmatched) else ""


def _explain(text: str, wanted: str) -> str:
    return (
        f"the program binds {text}, but no listener has that address; set ListenStream={wanted} or "
        f"change the program's configuration"
    )
