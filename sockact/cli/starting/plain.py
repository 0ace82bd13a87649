"""The short way of `sockact run`: reads plain command lines without click, within a millisecond.

It takes the options that units have. All others, and all mistakes, are left to click, which checks
values by the same functions.
"""

from __future__ import annotations

import os

from sockact.cli.options import checks
from sockact.cli.starting.default_name import default_name
from sockact.core.settings import Adopt, LaneUse, MoveUse, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def _directory(text: str) -> str:
    if not (os.path.isdir(text) and os.access(text, os.R_OK)):
        raise ValueError
    return checks.logical(text)


def _ready(text: str) -> str:
    """Only the kinds that need no further check."""
    if text not in ("interest", "notify"):
        raise ValueError
    return text


OPTIONS: dict[str, Callable[[str], Any]] = {
    "--name": checks.service_name,
    "--directory": _directory,
    "--adopt": Adopt,
    "--lanes": LaneUse,
    "--move-connections": MoveUse,
    "--ready": _ready,
    "--start-timeout": checks.some_time,
    "--drain-timeout": checks.time,
    "--quiet-after": checks.time,
    "--kill-timeout": checks.time,
    "--start-limit-interval": checks.some_time,
    "--stop-signal": checks.catchable_signal,
    "--reopen-signal": checks.catchable_signal,
    "--identifier": checks.identifier,
    "--log": checks.log_file,
    "--log-stderr": checks.log_file,
    "--watch-delay": checks.time,
    "--watch-pause": checks.time,
}
"""Option → what makes its setting of the value, or raises ValueError. Each may be given once."""


def parse(words: Sequence[str]) -> Settings | None:
    """The settings of `sockact run WORDS`; None for anything that is not plain and right."""
    given: dict[str, Any] = {"listen": ()}
    rest = [*words]
    try:
        while rest and rest[0].startswith("-"):
            option, equals, value = rest.pop(0).partition("=")
            if option == "--":
                break
            if not equals:
                value = rest.pop(0)
            _take(given, option, value)
        if not rest or given.get("reopen_signal") == given.get("stop_signal", Settings.stop_signal):
            return None
        command = tuple(rest)
        directory = given.pop("directory", None) or checks.logical(None)
        name = given.pop("name", None) or default_name(command)
        return Settings(name, command, directory, **given)
    except (IndexError, ValueError):
        return None


def _take(given: dict[str, Any], option: str, value: str) -> None:
    """Take a value into the settings. Raises ValueError."""
    field = option.removeprefix("--").replace("-", "_")
    if option == "--listen":
        given["listen"] += (value,)
    elif option not in OPTIONS or field in given:
        raise ValueError
    else:
        given[field] = OPTIONS[option](value)
