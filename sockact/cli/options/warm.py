"""The options of `sockact run` for the warm-up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from sockact.cli.options.checks import logical
from sockact.cli.options.probes import check_url
from sockact.cli.options.values import check_some_time, group
from sockact.core.numbers import span
from sockact.core.settings import Settings

if TYPE_CHECKING:
    from typing import Any

FILE = "@"
"""Before the path of a file with paths."""
_MOST = 32
_LARGEST = 1 << 16


def _check(_context: click.Context, _option: click.Parameter, value: Any) -> tuple[str, ...]:
    if len(value) > _MOST:
        raise click.BadParameter(f"{len(value)} are too many; write the paths into a file: @FILE")
    return tuple(map(_one, value))


def _one(text: str) -> str:
    if text.startswith(FILE):
        path = os.path.join(logical(None), text.removeprefix(FILE))
        _check_file(path)
        return FILE + path
    if not text.startswith("http://"):
        raise click.BadParameter(
            f"{text!r} is neither an http:// URL nor a file; use http://ADDRESS/PATH or @FILE"
        )
    check_url(text)
    return text


def _check_file(path: str) -> None:
    """The supervisor reads it again at each reload."""
    try:
        if not os.path.isfile(path):
            os.stat(path)
            raise click.BadParameter(f"{path} is not a file")
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise click.BadParameter(f"cannot read {path}: {reason}") from error
    if len(text) > _LARGEST:
        raise click.BadParameter(f"{path} is larger than {_LARGEST >> 10} KiB")
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines, 1):
        if line and not line.startswith(("/", "#")):
            raise click.BadParameter(
                f"{path}, line {number}: {line[:60]!r} is not a path; write one such as /login"
            )
        if line.startswith("/"):
            check_url(f"http://localhost{line}")
    if not any(line.startswith("/") for line in lines):
        raise click.BadParameter(f"{path} has no line with a path; write one such as /login")


warm_options = group(
    click.option(
        "--warm",
        metavar="URL",
        multiple=True,
        callback=_check,
        help="Before clients reach a new generation, request URL from it until its response times "
        "settle; @FILE requests the paths in FILE. May be repeated.",
    ),
    click.option(
        "--warm-timeout",
        metavar="TIME",
        default=span(Settings.warm_timeout),
        show_default=True,
        callback=check_some_time,
        help="Time after which a new generation gets clients even if it is not warm yet.",
    ),
)


def check_together(options: dict[str, Any]) -> None:
    """Raises UsageError for an option that would have no effect."""
    if options["warm_timeout"] != Settings.warm_timeout and not options["warm"]:
        raise click.UsageError("--warm-timeout needs --warm URL")
