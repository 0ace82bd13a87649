"""A rotation: every process reopens the log files that were moved."""

from __future__ import annotations

from sockact.cli.calls import service
from sockact.cli.terminal.failures import Failure, TimedOut
from sockact.cli.terminal.output import complain, say
from sockact.core import json_text
from sockact.supervisor.control import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIMEOUT = 120.0
"""Seconds to wait for the outcome, unless the command says otherwise."""


def perform(name: str | None, *, as_json: bool = False, timeout: float = TIMEOUT) -> int:
    """`sockact rotate`; its exit status. Raises Failure."""
    target = service.one(name)
    rotation = _rotate(target, timeout)
    say(json_text.indented(rotation) if as_json else f"{target.name}: {_described(rotation)}")
    for one in rotation["errors"]:
        process = "" if one["pid"] is None else f"process {one['pid']}: "
        complain(Failure(f"{target.name}: {process}{one['error']}"))
    return 1 if rotation["errors"] else 0


def _rotate(target: service.Service, timeout: float) -> dict[str, Any]:
    with target.connect(min(timeout, service.ANSWER_SECONDS)) as connection:
        try:
            answer = target.call(connection, "Rotate", {}, timeout)
        except client.Timeout as error:
            raise TimedOut(
                f"{target.name}: no answer within {timeout:g} s; do not compress the old files yet"
            ) from error
    rotation: dict[str, Any] = answer["rotation"]
    return rotation


def _described(rotation: dict[str, Any]) -> str:
    text = (
        f"{_counted(rotation['files'], 'file')} reopened "
        f"in {_counted(rotation['processes'], 'process', 'es')}"
    )
    if signalled := rotation["signalled"]:
        text += f", {_counted(signalled, 'process', 'es')} signalled"
    return text


def _counted(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{'' if number == 1 else plural}"
