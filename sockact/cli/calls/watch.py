"""The status of services, shown again whenever it changes."""

from __future__ import annotations

import contextlib
import json
import math
import selectors
import time

from sockact.cli.calls import service
from sockact.cli.calls.asking import status_of
from sockact.cli.calls.show import show
from sockact.cli.calls.status import SECONDS, add_usage
from sockact.cli.terminal.failures import Failure, NotRunning
from sockact.cli.terminal.output import complain, say, say_anew
from sockact.supervisor.control import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from sockact.cli.calls.service import Service
_MOST_AT_ONCE = 8


def perform(name: str | None, *, as_json: bool = False) -> NoReturn:
    """`sockact status --watch`. Raises Failure, at the latest when all services have stopped."""
    services = [service.one(name)] if name else service.running()
    latest: dict[str, dict[str, Any]] = {}
    previous: dict[str, dict[str, Any]] = {}
    for awaited, status in _updates(services):
        name = status["name"]
        if name in latest:
            previous[name] = latest[name]
        add_usage([status])
        latest[name] = status
        if as_json:
            say(json.dumps(latest[name]))
        elif awaited <= latest.keys():
            _print([latest[name] for name in latest if name in awaited], previous)
    names = ", ".join(one.name for one in services)
    raise NotRunning(f"{names}: stopped; nothing is left to watch")


def _updates(services: list[Service]) -> Iterator[tuple[set[str], dict[str, Any]]]:
    """Yield each status as it arrives, with the names of all services that are still watched.

    This ends when all services have stopped. A service that says nothing for SECONDS is reported
    and no longer watched; if it is the last one, Failure is raised. An answer that no supervisor
    would give ends the watch with a Failure, after the other services have had SECONDS to answer.
    """
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        heard: dict[str, float] = {}
        wrong: Failure | None = None
        ends = math.inf
        for one in services:
            try:
                connection = stack.enter_context(one.connect(SECONDS))
                with one.explained():
                    connection.send("Status", more=True)
            except Failure as failure:
                _give_up(failure, last=len(services) == 1)
                continue
            selector.register(connection, selectors.EVENT_READ, (one, connection))
            heard[one.name] = time.monotonic()
        while selector.get_map() and time.monotonic() < ends:
            due = min(ends, min(heard.values()) + SECONDS) - time.monotonic()
            for key, _ in selector.select(max(0.0, due)):
                one, connection = key.data
                heard[one.name] = time.monotonic()
                try:
                    with one.explained():
                        for status in _arrived(one, connection):
                            yield set(heard), status
                except Failure as failure:
                    selector.unregister(connection)
                    del heard[one.name]
                    if not isinstance(failure.__cause__, client.Disconnected):
                        wrong = wrong or failure
                        ends = min(ends, time.monotonic() + SECONDS)
            _give_up_silent(selector, heard)
        if wrong:
            raise wrong


def _give_up_silent(selector: selectors.BaseSelector, heard: dict[str, float]) -> None:
    """Stop watching the services that have said nothing for SECONDS."""
    for key in tuple(selector.get_map().values()):
        one, connection = key.data
        if time.monotonic() - heard[one.name] < SECONDS:
            continue
        failure = Failure(f"{one.name}: no answer within {SECONDS:g} s; check its log")
        selector.unregister(connection)
        del heard[one.name]
        _give_up(failure, last=not heard)


def _give_up(failure: Failure, *, last: bool) -> None:
    """Raise the failure of the last service; report any other, which must not hide the rest."""
    if last:
        raise failure
    complain(failure)


def _arrived(one: Service, connection: client.Client) -> Iterator[dict[str, Any]]:
    """Yield the statuses that have arrived, a bounded number: then the others have their turn."""
    yield status_of(one, connection, connection.receive(SECONDS).parameters)
    for _ in range(_MOST_AT_ONCE):
        if not connection.buffered():
            return
        yield status_of(one, connection, connection.receive(SECONDS).parameters)


def _print(statuses: list[dict[str, Any]], previous: dict[str, dict[str, Any]]) -> None:
    text = "\n\n".join(show(status, previous.get(status["name"])) for status in statuses)
    say_anew(text)
