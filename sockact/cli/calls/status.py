"""The status of services, asked once."""

from __future__ import annotations

import time

from sockact.cli.calls import resources, service
from sockact.cli.calls.show import show
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, say
from sockact.core import json_text
from sockact.units import unit_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sockact.cli.calls.service import Service
    from sockact.supervisor.control.client import Client

SECONDS = 5.0
"""How long one service may keep the others from being shown."""
_AT_ONCE = 64
_USAGE_SECONDS = 2.0
"""Time limit for reading what the processes of one service use."""


def perform(name: str | None, *, as_json: bool = False) -> int:
    """`sockact status` without --watch; its exit status. Raises Failure."""
    if name:
        status = _completed(ask(service.one(name), SECONDS))
        say(json_text.indented(status) if as_json else show(status))
        return 0
    answers = ask_all(service.running(), SECONDS)
    statuses = [_completed(one) for one in answers if not isinstance(one, Failure)]
    if as_json:
        say(json_text.indented(statuses))
    elif statuses:
        say("\n\n".join(map(show, statuses)))
    failures = [one for one in answers if isinstance(one, Failure)]
    for failure in failures:
        complain(failure)
    return 1 if failures else 0


def ask(one: Service, seconds: float) -> dict[str, Any]:
    """What its supervisor answers within this time. Raises Failure."""
    until = time.monotonic() + seconds
    with one.connect(seconds) as connection:
        answer = connection.call("Status", timeout=max(0.0, until - time.monotonic()))
        return status_of(one, connection, answer)


def status_of(one: Service, connection: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """The status in an answer, with the pid of the process that answered. Raises Failure."""
    status: dict[str, Any] = answer["status"]
    if status["name"] != one.name:
        # Its status would be shown as that service's.
        raise Failure(f"{one.name}: the supervisor there calls itself {status['name']!r}")
    status["pid"] = connection.supervisor or status["pid"]
    return status


def ask_all(services: list[Service], seconds: float) -> list[dict[str, Any] | Failure]:
    """What each of them answers, or why it does not: all are asked at the same time."""
    import threading  # A command for one service needs none.

    answers: dict[str, dict[str, Any] | Failure] = {}
    waiting = iter(services)
    until = time.monotonic() + seconds

    def work() -> None:
        for one in waiting:
            try:
                if time.monotonic() > until:
                    raise Failure(f"{one.name}: not asked within {seconds:g} s")
                answers[one.directory] = ask(one, seconds)
            except Failure as failure:
                answers[one.directory] = failure

    threads = [threading.Thread(target=work) for _ in services[:_AT_ONCE]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[one.directory] for one in services]


def with_usage(status: dict[str, Any]) -> dict[str, Any]:
    """The status, with what the processes of each generation use; of too many, nothing."""
    generations = status["generations"]
    used = resources.usage([one["pids"] for one in generations], _USAGE_SECONDS)
    for generation, (memory, cpu) in zip(generations, used, strict=True):
        generation["memory_bytes"] = memory
        generation["cpu_seconds"] = cpu
    return status


def _completed(status: dict[str, Any]) -> dict[str, Any]:
    return with_usage(status) | {"systemd": unit_facts.starts(status, time.time())}
