"""`sockact dev`: `sockact run` for developers, who change the program all the time."""

from __future__ import annotations

import copy
import os
from typing import Any

import click

from sockact.cli.options.checks import logical
from sockact.cli.starting import run
from sockact.core.record import replace
from sockact.core.settings import Settings
from sockact.units import program_addresses

DEFAULTS = {
    "start_timeout": "30s",
    "drain_timeout": "1s",
    "kill_timeout": "2s",
    "start_limit_burst": 0,
    "watch_delay": "0.2s",
    "watch_pause": "5s",
}
"""Defaults that differ from those of `sockact run`."""
_NOT_HERE = ("config",)
_WRITTEN_BY_PROGRAMS = ("*.db", "*.db-*", "*.sqlite3-*")


def _option(option: click.Parameter) -> click.Parameter:
    if option.name not in DEFAULTS:
        return option
    found = copy.copy(option)
    found.default = DEFAULTS[option.name]
    return found


@click.command(
    name="dev",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] [--]",
    short_help="Run a program and reload it when its source changes.",
)
def command(program: tuple[str, ...], **options: Any) -> Settings:
    """Run PROGRAM in the terminal and reload it when a file of the working directory changes.

    With --watch, the given paths are watched instead. If the changed PROGRAM fails to start, the
    previous generation keeps serving. Press Ctrl-C to stop the service. Everything else works as
    with `sockact run`.

    \b
    Example:
      sockact dev --listen 127.0.0.1:8000 -- uvicorn --port 8000 app:app
    """
    if not program:
        raise click.UsageError(
            "no program given; put it last, as in "
            "`sockact dev --listen 127.0.0.1:8000 -- uvicorn --port 8000 app:app`"
        )
    if not options["listen"]:
        address = program_addresses.find_first(program) or "127.0.0.1:8000"
        raise click.UsageError(
            f"no address given; add the address that PROGRAM listens on, as in "
            f"`sockact dev --listen {address} -- {program[0]} …`"
        )
    run_it = run.command.callback
    assert run_it
    found = run_it(program=program, config=None, **options)
    assert isinstance(found, Settings)
    watch = found.watch or (logical(options["directory"] or os.curdir),)
    ignore = (*found.watch_ignore, *_WRITTEN_BY_PROGRAMS)
    return replace(found, watch=watch, watch_ignore=ignore, terse=True)


command.params = [_option(one) for one in run.command.params if one.name not in _NOT_HERE]
