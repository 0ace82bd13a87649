"""Runs of a probe that reach one generation alone, while another serves everybody: docs/lanes.md.

The probe connects through a socket that is bound here, and while it runs, the kernel steers what
comes from that address and port to the generation's lane. Nobody else can use the port meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
from functools import partial

from sockact.core.matching import Family, Kind
from sockact.core.numbers import whole
from sockact.core.record import replace
from sockact.supervisor.base.commands import CommandRun
from sockact.supervisor.probes.probe_commands import trial_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sockact.core.settings import Settings
    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.lending import Lending
    from sockact.supervisor.probes.attempts import Start

PRIVATE = "--private"
"""First argument of a probe whose standard input is the socket to connect with."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_LOCAL = {"localhost": ("127.0.0.1", "::1")}
_DEFAULT_PORT = 80
_PROGRAM = 4
"""Words before the arguments of a probe: PYTHON -I -S PROGRAM."""


def target(probe: str, listeners: Sequence[Listener]) -> tuple[int, str] | None:
    """Which of the addresses a probe asks, by its place in `listeners`, and the IP address that it
    connects to. None: it does not connect to one address of the service, so it cannot be private.
    """
    if probe == "tcp":
        streams = [place for place, one in enumerate(listeners) if one.address.kind is Kind.STREAM]
        ip = local(listeners[streams[0]].address.host) if len(streams) == 1 else ""
        return (streams[0], ip) if _is_local(ip) else None
    scheme, _, rest = probe.partition("://")
    host, port = _host_and_port(rest) if scheme == "http" else ("", 0)
    for ip in _LOCAL.get(host, (host,)):
        for place, listener in enumerate(listeners):
            address = listener.address
            if (address.kind, address.port) == (Kind.STREAM, port) and _covers(listener, ip):
                return place, ip
    return None


def local(host: str) -> str:
    """An IP address of this machine at which a listener with this one takes connections."""
    return _ANY.get(host, host)


def _host_and_port(rest: str) -> tuple[str, int]:
    """Those of a URL without its scheme; ("", 0) if it has none."""
    for end in "/?#":
        rest = rest.partition(end)[0]
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(_DEFAULT_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        return "", 0
    return host.lower(), whole(port) or 0


def _is_local(ip: str) -> bool:
    """Whether this is an IP address of this machine, which a probe can connect from."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as sock:
            socket.inet_pton(sock.family, ip)  # Or else a name would be looked up.
            sock.bind((ip, 0))
    except OSError:
        return False
    return True


def _covers(listener: Listener, ip: str) -> bool:
    """Whether a listener takes connections to this address."""
    if not _is_local(ip):
        return False
    family = Family.INET6 if ":" in ip else Family.INET
    host = listener.address.host
    if listener.address.family is family:
        return host in (ip, "0.0.0.0", "::")
    only = listener.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return host == "::" and not only


def is_private(lanes: Lanes, probe: str) -> bool:
    """Whether a probe can reach one generation alone."""
    return lanes.count > 1 and target(probe, lanes.addresses) is not None


class PrivateRuns:
    """Starts the runs of one generation's probes."""

    def __init__(self, loop: Loop, lending: Lending, number: int) -> None:
        self._loop = loop
        self._lending = lending
        self._number = number

    def of_trial(self, settings: Settings, environment: Mapping[str, str]) -> Start | None:
        """Return what starts a run of --probe, if there is one. Raises OperatorError."""
        command = trial_command(settings, self._lending.listeners_of(self._number))
        if command is None:
            return None
        return self.of(settings.probe, command, environment, settings.probe_timeout)

    def of(
        self, probe: str, command: Command, environment: Mapping[str, str], timeout: float | None
    ) -> Start:
        """Return what starts a run of this probe, private if that is possible."""
        where = target(probe, self._lending.listeners_of(self._number))
        if where is None or not self._lending.is_alone(self._number):
            return partial(CommandRun, self._loop, command, environment, timeout)
        return partial(self._start, where, command, environment, timeout)

    def _end(self, source: socket.socket) -> None:
        """End a private run. That the rule is still there harms nobody but who gets the port."""
        with contextlib.suppress(OSError):
            self._lending.lanes.close_private(source)

    def _start(
        self,
        where: tuple[int, str],
        command: Command,
        environment: Mapping[str, str],
        timeout: float | None,
        done: Callable[[str], None],
    ) -> CommandRun:
        """Start a private run. Raises OSError."""
        lanes = self._lending.lanes
        source = lanes.open_private(*where, self._lending.lane_of(self._number))
        # After the Python, its options and the program.
        words = (*command.words[:_PROGRAM], PRIVATE, *command.words[_PROGRAM:])
        ended = partial(self._end, source)
        try:
            return CommandRun(
                self._loop,
                replace(command, words=words, stdin=source.fileno()),
                environment,
                timeout,
                done,
                ended,
            )
        except OSError:
            ended()
            raise
