"""The options of `sockact run` that other commands take and write into a unit."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import click

from sockact.cli.starting import run
from sockact.core.errors import OperatorError
from sockact.systemd import listeners

if TYPE_CHECKING:
    from collections.abc import Container

_RAW = "sockact.raw"
_PATHS = ("log", "log_stderr", "watch", "warm")


class Verbatim(click.Command):
    """A command that keeps its options as they were typed, for the unit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        whole = "--" in words or ctx.resilient_parsing
        try:
            raw = ctx.meta[_RAW] = self.make_parser(ctx).parse_args(list(args))[0]
            found = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if whole or error.possibilities:
                raise
            raise click.UsageError(f"unknown option {error.option_name!r}; {_HINT}", ctx) from None
        program = raw.get("program")
        # click has a mark of its own for an argument that is not there.
        if (
            not whole
            and isinstance(program, tuple | list)
            and program
            and _has_options(words, program[0])
        ):
            raise click.UsageError(f"options after PROGRAM, which may be its own; {_HINT}", ctx)
        return found


_HINT = "write `--` before PROGRAM, so that its options stay its own"


def _has_options(words: list[str], first: str) -> bool:
    """Whether options follow the first word of the program."""
    after = words[words.index(first) + 1 :] if first in words else []
    return any(word.startswith("-") for word in after)


OPTIONS = [
    option
    for option in run.command.params
    if option.name not in ("config", "name", "listen", "directory", "program")
]
"""All options of `sockact run` except those that the unit determines."""


def given(without: Container[str] = ()) -> list[str]:
    """Return the OPTIONS that this command was given, as words for `sockact run`. Options whose
    names are in `without` are left out.
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


def about_start() -> list[str]:
    """Do the same as `given`, for the options that say how PROGRAM starts, and when it is ready."""
    started = ("adopt", "ready", "start_timeout", "kill_timeout", "stop_signal")
    names = {str(option.name) for option in OPTIONS}
    return given({name for name in names if not name.startswith(("probe", *started))})


def logs() -> dict[str, str]:
    """The options --log and --log-stderr that this command was given, and their values."""
    raw = click.get_current_context().meta[_RAW]
    names = {option.name: option.opts[0] for option in OPTIONS if option.name in _PATHS[:2]}
    return {option: raw[name] for name, option in names.items() if isinstance(raw.get(name), str)}


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
