"""`sockact exporter`: the metrics of all services of the host, for Prometheus."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import click

from sockact.cli.failures import Failure
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
        raise click.BadParameter(f"{value!r} is not for TCP: write one like 127.0.0.1:9927")
    return value


@click.command(name="exporter", short_help="Serve metrics to Prometheus.")
@click.option(
    "--listen",
    metavar="ADDR",
    callback=_check_listen,
    help="The TCP address, where systemd passes no socket: 127.0.0.1:9927, [::1]:9927.",
)
def command(listen: str | None) -> None:
    """Serve the metrics of all services of this host over HTTP, at /metrics.

    For Prometheus, in its text format and in OpenMetrics. The supervisors are asked at each scrape;
    those of all users answer root only. sockact-exporter.socket starts it at the first scrape.
    """
    found = _listeners(listen)
    try:
        from sockact.cli.exporter.server import Server
    except ImportError as error:
        raise Failure(
            f"the exporter needs prometheus_client ({error}): install python3-prometheus-client, "
            "or prometheus-client with pip"
        ) from error
    # A client that leaves must not end it.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    Server(found).serve()


def _listeners(listen: str | None) -> list[socket.socket]:
    try:
        found, _ = listeners.passed(os.environ)
        if found is None:
            if listen is None:
                raise click.UsageError("no address given: write --listen 127.0.0.1:9927")
            found = listeners.open_all((listen,))
    except OperatorError as error:
        raise Failure(str(error)) from error
    if any(one.address.kind is not Kind.STREAM for one in found):
        raise Failure("ListenDatagram= is not for HTTP: the .socket unit needs ListenStream=")
    return [one.socket for one in found]
