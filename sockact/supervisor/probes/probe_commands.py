"""The commands behind --ready, --probe and --watchdog-probe."""

from __future__ import annotations

from sockact.core.errors import OperatorError
from sockact.core.matching import Kind
from sockact.supervisor.base.commands import python_command, shell_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.commands import Command


def readiness_command(ready: str) -> Command:
    """Return the command behind --ready http://… or exec:…"""
    return _command(ready)


def trial_command(settings: Settings, listeners: Sequence[Listener]) -> Command | None:
    """Return the command behind --probe, if there is one. Raises OperatorError."""
    if not settings.probe:
        return None
    if settings.probe == "tcp":
        return _tcp_command(listeners, settings.probe_timeout)
    wanted = (settings.probe_timeout, *settings.probe_status, settings.probe_body)
    return _command(settings.probe, *map(str, wanted))


def watchdog_command(settings: Settings, seconds: float) -> Command | None:
    """Return the command behind --watchdog-probe, if there is one."""
    return _command(settings.watchdog_probe, str(seconds)) if settings.watchdog_probe else None


def _command(probe: str, *arguments: str) -> Command:
    kind, _, command_line = probe.partition(":")
    if kind == "exec":
        return shell_command(command_line)
    return python_command(__file__, "http_probe.py", probe, *arguments)


def _tcp_command(listeners: Sequence[Listener], seconds: float) -> Command:
    inet = [x.address for x in listeners if x.address.port and x.address.kind is Kind.STREAM]
    if not inet:
        raise OperatorError("--probe tcp: there is no TCP listener; use exec:COMMAND")
    words = [word for address in inet for word in (address.host, str(address.port))]
    return python_command(__file__, "tcp_probe.py", str(seconds), *words)
