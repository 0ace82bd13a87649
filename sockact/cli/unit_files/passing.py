"""The options of `sockact run` that other commands take and write into a unit."""

from __future__ import annotations

import os
import shutil
import sys

import click

from sockact.cli.starting import run
from sockact.core.errors import OperatorError
from sockact.systemd import listeners

_RAW = "sockact.raw"
_PATHS = ("log", "log_stderr", "watch")


class Verbatim(click.Command):
    """A command that keeps its options as they were typed, for the unit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_RAW] = self.make_parser(ctx).parse_args(list(args))[0]
        return super().parse_args(ctx, args)


OPTIONS = [
    option
    for option in run.command.params
    if option.name not in ("config", "name", "listen", "directory", "program")
]
"""All options of `sockact run` except those that the unit determines."""


def given(without: tuple[str, ...] = ()) -> list[str]:
    """Those of OPTIONS that this command was given, as words for `sockact run`, except those whose
    names are in `without`.
    """
    context = click.get_current_context()
    raw = context.meta[_RAW]
    words: list[str] = []
    for option in OPTIONS:
        if option.name in without:
            continue
        value = raw.get(option.name)
        if value is not None and option.name in _PATHS:
            # The unit has another working directory.
            value = context.params[option.name]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                words += [option.opts[0], *([] if one is True else [str(one)])]
    return words


def sockact_command() -> str:
    """The path of the running command, or of another that systemd can start.

    Raises OperatorError.
    """
    ours = (
        sys.argv[0],
        shutil.which("sockact") or "",
        f"{os.path.dirname(sys.executable)}/sockact",
    )
    for path in ours:
        if os.path.basename(path) == "sockact" and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise OperatorError("there is no command `sockact`; install it, for example with `pip install`")


def label(listen: tuple[str, ...]) -> str:
    """The name that --listen gives to the listeners; empty if it gives none.

    Raises OperatorError for several names, as a .socket unit has one for all its listeners.
    """
    named = {listeners.parse(text)[0] for text in listen if _is_named(text)}
    if named and (len(named) > 1 or not all(map(_is_named, listen))):
        raise OperatorError(
            "--listen: a .socket unit has one name for all its listeners; "
            "give all of them the same name, or none"
        )
    return named.pop() if named else ""


def _is_named(text: str) -> bool:
    return "=" in text and "/" not in text.partition("=")[0]
