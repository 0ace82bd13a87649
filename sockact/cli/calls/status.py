"""The status of services, asked once."""

from __future__ import annotations

import time

from sockact.cli.calls import resources, service
from sockact.cli.calls.asking import ask_all, status_of
from sockact.cli.calls.show import show
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, say
from sockact.core import json_text
from sockact.units import unit_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sockact.cli.calls.service import Service

SECONDS = 5.0
"""How long one service may keep the others from being shown."""
MOST_FAILURES = 20
"""Services that do not answer, to be named."""
_USAGE_SECONDS = 2.0
"""Time limit for reading what the processes of all services use."""


def perform(name: str | None, *, as_json: bool = False) -> int:
    """`sockact status` without --watch; its exit status. Raises Failure."""
    if name:
        status = ask(service.one(name), SECONDS)
        _complete([status])
        say(json_text.indented(status) if as_json else show(status))
        return 0
    answers = ask_all(service.running(), SECONDS)
    statuses = [one for one in answers if not isinstance(one, Failure)]
    _complete(statuses)
    if as_json:
        say(json_text.indented(statuses))
    elif statuses:
        say("\n\n".join(map(show, statuses)))
    failures = [one for one in answers if isinstance(one, Failure)]
    for failure in failures[:MOST_FAILURES]:
        complain(failure)
    tell_more(len(failures[MOST_FAILURES:]))
    service.tell_unseen()
    return 1 if failures else 0


def ask(one: Service, seconds: float) -> dict[str, Any]:
    """What its supervisor answers within this time. Raises Failure."""
    until = time.monotonic() + seconds
    with one.connect(seconds) as connection:
        answer = connection.call("Status", timeout=max(0.0, until - time.monotonic()))
        return status_of(one, connection, answer)


def add_usage(statuses: list[dict[str, Any]]) -> None:
    """Add to each status what the processes of each generation use; of too many, nothing."""
    generations = [one for status in statuses for one in status["generations"]]
    used = resources.usage([one["pids"] for one in generations], _USAGE_SECONDS)
    for generation, (memory, cpu) in zip(generations, used, strict=True):
        generation["memory_bytes"] = memory
        generation["cpu_seconds"] = cpu


def tell_more(failures: int) -> None:
    """Say how many services that have failed to answer are not named."""
    if failures:
        plural = "" if failures == 1 else "s"
        complain(Failure(f"{failures} more service{plural} did not answer; name one to see why"))


def _complete(statuses: list[dict[str, Any]]) -> None:
    """Add what this command finds out by itself, each part of it in a bounded time."""
    add_usage(statuses)
    until = time.monotonic() + SECONDS
    for status in statuses:
        in_time = time.monotonic() < until
        status["systemd"] = unit_facts.starts(status, time.time()) if in_time else None
