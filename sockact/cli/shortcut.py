"""The short way of commands that only make a call: without click, so that they answer at once.

It takes plain command lines. All others, and all mistakes, are left to click, which leads to the
same calls.
"""

from __future__ import annotations

import gc
import os

from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import end_by, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FLAGS = {
    "reload": {
        "--wait-drained": "wait_drained",
        "--force": "force",
        "--json": "as_json",
        "--canary-background": "canary_background",
    },
    "rollback": {"--json": "as_json"},
    "rotate": {"--json": "as_json"},
    "status": {"--json": "as_json"},
    "stop": {"--now": "now"},
    "list": {"--json": "as_json"},
}
"""Command → option → parameter of the call."""
_CONTRADICTION = {"wait_drained", "canary_background"}
_TIMED = ("reload", "rotate")
_NAMELESS = ("list",)


def perform(words: Sequence[str]) -> int | None:
    """Carry the command out; its exit status. None when it is left to click."""
    call = parse(words)
    if call is None or "_SOCKACT_COMPLETE" in os.environ:
        return None
    gc.disable()  # Looking for garbage takes longer than it could fill any memory.
    try:
        # As importlib does it, which takes longer to load than most of what it loads.
        module = __import__(f"sockact.cli.calls.{words[0]}", fromlist=("perform",))
        status: int = module.perform(**call)
    except (Failure, OSError) as error:
        return report(error)
    except KeyboardInterrupt:
        end_by("SIGINT")
    return status


def parse(words: Sequence[str]) -> dict[str, Any] | None:
    """The parameters of the call; None for anything that is not plain and right."""
    if not words or words[0] not in FLAGS:
        return None
    command, rest = words[0], iter(words[1:])
    names = []
    call: dict[str, Any] = {}
    for word in rest:
        if word in FLAGS[command]:
            call[FLAGS[command][word]] = True
        elif word == "--timeout" and command in _TIMED:
            call["timeout"] = _time(next(rest, ""))
        else:
            names.append(word)
    if call.keys() >= _CONTRADICTION:
        return None
    if command in _NAMELESS:
        return None if names else call
    if not names and (name := os.environ.get("SOCKACT_NAME")):
        names.append(name)
    from sockact.supervisor.control.paths import valid_name

    if len(names) != 1 or not valid_name(names[0]) or call.get("timeout", 1) is None:
        return None
    return {"name": names[0], **call}


def _time(text: str) -> float | None:
    from sockact.core.numbers import LONGEST, seconds

    try:
        span = seconds(text)
    except ValueError:
        return None
    return span if 0 < span <= LONGEST else None
