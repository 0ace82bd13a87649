"""`sockact status`: what runs, as text or JSON, once or until interrupted."""

from __future__ import annotations

import contextlib
import json
import selectors
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import click

from sockact.cli.calls import service, unit_facts
from sockact.cli.main import Failure, NotRunning, complain
from sockact.supervisor.control import client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.cli.calls.service import Service

SECONDS = 5.0
"""How long one service may keep the others from being shown."""

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
    answers = _ask_all(services)
    found = [_with_usage(answer) for answer in answers if not isinstance(answer, Failure)]
    statuses = [one | {"systemd": unit_facts.starts(one, time.time())} for one in found]
    failures = [answer for answer in answers if isinstance(answer, Failure)]
    if name and failures:
        raise failures[0]
    if as_json:
        click.echo(json.dumps(statuses[0] if name else statuses, indent=2))
    elif statuses:
        _print(statuses)
    for failure in failures:
        complain(failure)
    if failures:
        sys.exit(1)


def _ask_all(services: list[Service]) -> list[dict[str, Any] | Failure]:
    """What each of them answers, or why it does not: all are asked at the same time."""
    answers: dict[str, dict[str, Any] | Failure] = {}

    def ask(one: Service) -> None:
        try:
            with one.connect(SECONDS) as connection:
                answers[one.name] = connection.call("Status", timeout=SECONDS)["status"]
        except Failure as failure:
            answers[one.name] = failure

    threads = [threading.Thread(target=ask, args=(one,)) for one in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[one.name] for one in services]


def _watch(services: list[Service], as_json: bool) -> None:
    latest: dict[str, dict[str, Any]] = {}
    previous: dict[str, dict[str, Any]] = {}
    names = ", ".join(one.name for one in services)
    for awaited, status in _updates(services):
        name = status["name"]
        if name in latest:
            previous[name] = latest[name]
        latest[name] = _with_usage(status)
        if as_json:
            click.echo(json.dumps(latest[name]))
        elif awaited <= latest.keys():
            _print([latest[name] for name in latest if name in awaited], previous, again=True)
    raise NotRunning(f"{names}: stopped; nothing is left to watch")


def _updates(services: list[Service]) -> Iterator[tuple[set[str], dict[str, Any]]]:
    """The statuses as they come, until all have stopped, and whose can be expected.

    A service that says nothing for some time is reported and given up: the last one as a Failure.
    """
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        heard: dict[str, float] = {}
        for one in services:
            connection = stack.enter_context(one.connect(SECONDS))
            connection.send("Status", more=True)
            selector.register(connection, selectors.EVENT_READ, (one, connection))
            heard[one.name] = time.monotonic()
        while selector.get_map():
            oldest = min(heard.values()) + SECONDS - time.monotonic()
            for key, _ in selector.select(max(0.0, oldest)):
                one, connection = key.data
                heard[one.name] = time.monotonic()
                try:
                    with one.explained():
                        for status in _arrived(connection):
                            yield set(heard), status
                except Failure as failure:
                    if not isinstance(failure.__cause__, client.Disconnected):
                        raise
                    selector.unregister(connection)
                    del heard[one.name]
            _give_up_silent(selector, heard)


def _give_up_silent(selector: selectors.BaseSelector, heard: dict[str, float]) -> None:
    """Stop to watch the services that were not heard of in time."""
    for key in tuple(selector.get_map().values()):
        one, connection = key.data
        if time.monotonic() - heard[one.name] < SECONDS:
            continue
        failure = Failure(f"{one.name}: no answer within {SECONDS:g} s; look into its log")
        selector.unregister(connection)
        del heard[one.name]
        if not heard:
            raise failure
        complain(failure)


def _arrived(connection: client.Client) -> Iterator[dict[str, Any]]:
    yield connection.receive(SECONDS).parameters["status"]
    while connection.buffered():
        yield connection.receive().parameters["status"]


def _with_usage(status: dict[str, Any]) -> dict[str, Any]:
    from sockact.cli.calls.resources import usage

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
    from sockact.cli.calls.show import show

    text = "\n\n".join(show(status, (previous or {}).get(status["name"])) for status in statuses)
    if again:
        text = _CLEAR + text if sys.stdout.isatty() else text + "\n"
    click.echo(text)
