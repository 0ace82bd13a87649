"""The options of `sockact run` for hooks, the release's version and the log format."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import TYPE_CHECKING

import click

from sockact.cli.options.values import check_some_time, group
from sockact.core.lifecycle.hooks import Hook
from sockact.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    Hooks = tuple[tuple[str, ...], ...]

MOST = 32
_SOURCES = "auto, path, git, git:DIRECTORY, file:PATH, exec:COMMAND or none"


def check_on(_context: click.Context, _option: click.Parameter, values: Iterable[str]) -> Hooks:
    """The callback of --on: for each hook its event and the words of its command."""
    found = tuple(map(_hook, values))
    if len(found) > MOST:
        raise click.BadParameter(f"too many hooks: {len(found)} (maximum: {MOST})")
    return found


def _hook(value: str) -> tuple[str, ...]:
    event, equals, command = value.partition("=")
    if not equals or event not in {*Hook}:
        raise click.BadParameter(
            f"{value!r} is not a hook; use EVENT=COMMAND, where EVENT is one of {', '.join(Hook)}"
        )
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.BadParameter(f"cannot split the command {command!r}: {error}") from error
    if not words or not words[0]:
        raise click.BadParameter(f"{value!r} has no command")
    if "\0" in command:
        raise click.BadParameter(f"{value!r} contains a NUL character")
    if "/" in words[0] and not os.path.isabs(words[0]):
        raise click.BadParameter(
            f"{words[0]!r} is not an absolute path; use one that begins with /"
        )
    return (event, *words)


def check_there(hooks: Hooks) -> None:
    """Raises UsageError for a command that cannot be executed."""
    for event, program, *_ in hooks:
        if shutil.which(program) is None:
            raise click.UsageError(
                f"--on {event}: {program!r} is not an executable program; install it"
            )


def check_release_version(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The callback of --release-version."""
    kind, colon, rest = value.partition(":")
    simple = value in ("auto", "path", "git", "none")
    if not simple and not (kind in ("file", "exec", "git") and colon and rest.strip()):
        raise click.BadParameter(f"{value!r} is not a version source; use {_SOURCES}")
    if "\0" in value:
        raise click.BadParameter(f"{value!r} contains a NUL character")
    return value


options = group(
    click.option(
        "--on",
        metavar="EVENT=COMMAND",
        multiple=True,
        callback=check_on,
        help="Command to run when a generation is pending, running, draining, drained, failed or "
        "rolled_back, or gets a share as a canary. May be repeated.",
    ),
    click.option(
        "--hook-timeout",
        metavar="TIME",
        default=f"{Settings.hook_timeout:g}s",
        show_default=True,
        callback=check_some_time,
        help="Time limit of a hook; after it, the command is killed and counts as failed.",
    ),
    click.option(
        "--release-version",
        metavar="SOURCE",
        default=Settings.release_version,
        show_default=True,
        callback=check_release_version,
        help=f"Source of the release's version: {_SOURCES}.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default=Settings.log_format,
        show_default=True,
        help="Format of sockact's own messages outside the journal.",
    ),
)
