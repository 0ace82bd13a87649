"""A rollback: the previous generation serves again, while it is still there."""

from __future__ import annotations

from sockact.cli.calls import service
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import say
from sockact.core import json_text
from sockact.supervisor.control import client, interface

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TIMEOUT = 60.0
"""Seconds; it takes milliseconds, unless processes do not react."""


def perform(name: str | None, *, as_json: bool = False) -> int:
    """`sockact rollback`; its exit status. Raises Failure."""
    target = service.one(name)
    handover = _rollback(target)
    if as_json:
        say(json_text.indented(handover))
    if handover["outcome"] != "committed" and handover["rollback"]:
        raise Failure(f"{target.name}: {_failed(handover)}")
    if not as_json:
        say(f"{target.name}: {_succeeded(handover)}")
    return 0


def _rollback(target: service.Service) -> dict[str, Any]:
    with target.connect() as connection:
        try:
            answer = target.call(connection, "Rollback", {}, TIMEOUT)
        except client.Timeout as error:
            raise Failure(
                f"{target.name}: no outcome within {TIMEOUT:g} s; the rollback may still be done, "
                f"see `sockact status {target.name}`"
            ) from error
        except client.RemoteError as error:
            if error.name == interface.NO_PREDECESSOR:
                raise Failure(
                    f"{target.name}: the previous generation has already ended; redeploy the "
                    f"previous release, then run `sockact reload {target.name}`"
                ) from error
            if error.name != interface.ROLLBACK_FAILED:
                raise
            answer = error.parameters
    handover: dict[str, Any] = answer["handover"]
    return handover


def _succeeded(handover: dict[str, Any]) -> str:
    other = handover["from"]
    if handover["rollback"]:
        text = f"switched back to generation {handover['to']}"
        return text if other is None else f"{text}; generation {other} is draining"
    text = f"abandoned generation {handover['to']}"
    return text if other is None else f"{text}; generation {other} is serving"


def _failed(handover: dict[str, Any]) -> str:
    text = f"generation {handover['to']} failed: {handover['reason']}"
    if (serving := handover["from"]) is not None and not handover["drained"]:
        text += f"; generation {serving} is still serving"
    return text
