"""`sockact status`: what runs, as text or JSON, once or until interrupted."""

from __future__ import annotations

import contextlib
import json
import selectors
import sys
from typing import TYPE_CHECKING, Any

import click

from sockact.cli import service
from sockact.cli.main import Failure, NotRunning
from sockact.supervisor import client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.cli.service import Service

_CLEAR = "\x1b[H\x1b[2J"


@click.command(name="status", short_help="Show what runs.")
@service.name_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list when NAME is omitted.")
@click.option("--watch", is_flag=True, help="Show it again at each change and once a second.")
def command(name: str | None, as_json: bool, watch: bool) -> None:
    """Show the service NAME: its generations, listeners and last handover.

    NAME is $SOCKACT_NAME, or all services that run.
    """
    services = [service.one(name)] if name else service.running()
    if watch:
        _watch(services, as_json)
        return
    statuses = [_with_usage(_ask(one)) for one in services]
    if as_json:
        click.echo(json.dumps(statuses[0] if name else statuses, indent=2))
    else:
        _print(statuses)


def _ask(one: Service) -> dict[str, Any]:
    with one.connect() as connection:
        status: dict[str, Any] = connection.call("Status", timeout=service.ANSWER_SECONDS)["status"]
        return status


def _watch(services: list[Service], as_json: bool) -> None:
    latest: dict[str, dict[str, Any]] = {}
    previous: dict[str, dict[str, Any]] = {}
    for status in _updates(services):
        name = status["name"]
        if name in latest:
            previous[name] = latest[name]
        latest[name] = _with_usage(status)
        if as_json:
            click.echo(json.dumps(latest[name]))
        elif len(latest) == len(services):
            _print(list(latest.values()), previous, again=True)
    names = ", ".join(one.name for one in services)
    raise NotRunning(f"{names}: stopped; nothing is left to watch")


def _updates(services: list[Service]) -> Iterator[dict[str, Any]]:
    """The statuses of all these services as they come, until all have stopped."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for one in services:
            connection = stack.enter_context(one.connect())
            connection.send("Status", more=True)
            selector.register(connection, selectors.EVENT_READ, (one, connection))
        while selector.get_map():
            ready = selector.select(service.ANSWER_SECONDS)
            if not ready:
                names = ", ".join(one.name for one in services)
                raise Failure(f"{names}: no answer in {service.ANSWER_SECONDS:g} s")
            for key, _ in ready:
                one, connection = key.data
                try:
                    with one.explained():
                        yield from _arrived(connection)
                except Failure as failure:
                    if not isinstance(failure.__cause__, client.Disconnected):
                        raise
                    selector.unregister(connection)


def _arrived(connection: client.Client) -> Iterator[dict[str, Any]]:
    yield connection.receive(service.ANSWER_SECONDS).parameters["status"]
    while connection.buffered():
        yield connection.receive().parameters["status"]


def _with_usage(status: dict[str, Any]) -> dict[str, Any]:
    from sockact.cli.resources import usage

    for generation in status["generations"]:
        used = usage(generation["pids"])
        generation["memory_bytes"] = used.memory_bytes
        generation["cpu_seconds"] = used.cpu_seconds
    return status


def _print(
    statuses: list[dict[str, Any]],
    previous: dict[str, dict[str, Any]] | None = None,
    again: bool = False,
) -> None:
    from sockact.cli.show import show

    text = "\n\n".join(show(status, (previous or {}).get(status["name"])) for status in statuses)
    if again:
        text = _CLEAR + text if sys.stdout.isatty() else text + "\n"
    click.echo(text)
