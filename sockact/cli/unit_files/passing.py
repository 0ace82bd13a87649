"""Options of `sockact run` that another command takes, checks as there, and writes into a unit."""

from __future__ import annotations

import os
import shutil
import sys

import click

from sockact.cli.setup import run
from sockact.core.errors import OperatorError
from sockact.systemd import listeners

_RAW = "sockact.raw"
_PATHS = ("log", "log_stderr", "watch")


class Verbatim(click.Command):
    """Keeps the options as they are written: the unit gets them so."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_RAW] = self.make_parser(ctx).parse_args(list(args))[0]
        return super().parse_args(ctx, args)


OPTIONS = [
    option
    for option in run.command.params
    if option.name not in ("config", "name", "listen", "directory", "program")
]
"""Whatever `sockact run` can do, but for what is the unit's."""


def given(without: tuple[str, ...] = ()) -> list[str]:
    """Of OPTIONS, those that the running command was given, as words for `sockact run`; `without`:
    names of others that it gets not.
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
    """The command that runs now, or another that systemd can start. Raises OperatorError."""
    ours = (
        sys.argv[0],
        shutil.which("sockact") or "",
        f"{os.path.dirname(sys.executable)}/sockact",
    )
    for path in ours:
        if os.path.basename(path) == "sockact" and os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise OperatorError("there is no command `sockact`: install it, with `pip install`, say")


def label(listen: tuple[str, ...]) -> str:
    """The name that was given to the listeners: one .socket unit has one for all of them."""
    named = {listeners.parse(text)[0] for text in listen if _is_named(text)}
    if named and (len(named) > 1 or not all(map(_is_named, listen))):
        raise OperatorError(
            "--listen: one .socket unit has one name for all its listeners; "
            "give all of them the same name, or none"
        )
    return named.pop() if named else ""


def _is_named(text: str) -> bool:
    return "=" in text and "/" not in text.partition("=")[0]
