"""`sockact exporter`: the metrics of all services of this host, for Prometheus."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import click

from sockact.cli.terminal.failures import Failure
from sockact.core.errors import OperatorError
from sockact.core.matching import Family, Kind
from sockact.systemd import listeners

if TYPE_CHECKING:
    import socket


def _check_listen(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> str | None:
    if value is None:
        return None
    try:
        address = listeners.parse(value)[1]
    except OperatorError as error:
        raise click.BadParameter(str(error).removeprefix("--listen ")) from error
    if address.kind is not Kind.STREAM or address.family is Family.UNIX:
        raise click.BadParameter(f"{value!r} is not a TCP address; use one such as 127.0.0.1:9927")
    return value


@click.command(name="exporter", short_help="Serve metrics to Prometheus.")
@click.option(
    "--listen",
    metavar="ADDR",
    callback=_check_listen,
    help="TCP address to listen on if systemd passes no socket, such as 127.0.0.1:9927.",
)
def command(listen: str | None) -> None:
    """Serve the metrics of all services of this host over HTTP, at /metrics.

    Formats: Prometheus text and OpenMetrics. sockact-exporter.socket starts the exporter at the
    first scrape. Each scrape queries the supervisors. Only root can query the services of all
    users.

    \b
    Example:
      sockact exporter --listen 127.0.0.1:9927
    """
    found = _listeners(listen)
    try:
        from sockact.cli.exporter.server import Server
    except ImportError as error:
        raise Failure(
            f"the exporter requires prometheus_client ({error}); install "
            "python3-prometheus-client, or prometheus-client with pip"
        ) from error
    # A client that leaves must not end it.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Server(found).serve()


def _listeners(listen: str | None) -> list[socket.socket]:
    try:
        found, _ = listeners.passed(os.environ)
        if found is None:
            if listen is None:
                raise click.UsageError("no address given; add --listen 127.0.0.1:9927")
            found = listeners.open_all((listen,))
    except OperatorError as error:
        raise Failure(str(error)) from error
    if any(one.address.kind is not Kind.STREAM for one in found):
        raise Failure("HTTP needs ListenStream= in the .socket unit, not ListenDatagram=")
    return [one.socket for one in found]
