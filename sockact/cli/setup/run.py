"""`sockact run`: checks the options. What they say is done by the supervisor, another process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from sockact.cli.options import complete, hooks, probes
from sockact.cli.options.values import (
    check_identifier,
    check_log,
    check_name,
    check_optional_signal,
    check_pattern,
    check_signal,
    check_some_time,
    check_time,
    check_watch,
    logical,
)
from sockact.core.settings import Adopt, Settings
from sockact.supervisor.control import paths

if TYPE_CHECKING:
    from typing import Any

    from sockact.cli.configuration.loading import Loaded


def _load(context: click.Context, _option: click.Parameter, value: str | None) -> Loaded | None:
    if value is None or context.resilient_parsing:
        return None
    from sockact.cli.configuration import loading  # Most command lines have no file.

    return loading.take(context, value)


@click.command(
    name="run",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] [--]",
    short_help="Run a program so that it can be reloaded.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    is_eager=True,
    callback=_load,
    help="Take PROGRAM, and what is not given here, from FILE, or from /etc/sockact/FILE.toml.",
)
@click.option(
    "--name",
    metavar="NAME",
    callback=check_name,
    help="Name of the service.  [default: from PROGRAM]",
)
@click.option(
    "--listen",
    metavar="ADDR",
    multiple=True,
    help="Listen here oneself, where no .socket unit does; may be repeated.",
)
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Where PROGRAM runs, looked up anew at each reload.  [default: here]",
)
@click.option(
    "--adopt",
    type=click.Choice([kind.value for kind in Adopt]),
    default=Settings.adopt.value,
    show_default=True,
    help="How the program gets the listeners.",
)
@click.option(
    "--ready",
    metavar="KIND",
    default=Settings.ready,
    show_default=True,
    callback=probes.check_ready,
    shell_complete=complete.one_of("interest", "notify"),
    help="When a generation is ready: interest, notify, http://ADDRESS/PATH or exec:COMMAND.",
)
@click.option(
    "--start-timeout",
    metavar="TIME",
    default=f"{Settings.start_timeout:g}s",
    show_default=True,
    callback=check_some_time,
    help="Time to become ready.",
)
@probes.trial_options
@click.option(
    "--drain-timeout",
    metavar="TIME",
    default=f"{Settings.drain_timeout:g}s",
    show_default=True,
    callback=check_time,
    help="Time for connections to end, before the stop signal.",
)
@click.option(
    "--kill-timeout",
    metavar="TIME",
    default=f"{Settings.kill_timeout:g}s",
    show_default=True,
    callback=check_time,
    help="Time between the stop signal and SIGKILL.",
)
@click.option(
    "--max-draining",
    metavar="NUMBER",
    type=click.IntRange(1, 99),
    default=Settings.max_draining,
    show_default=True,
    help="Of more generations that drain, the oldest gets its stop signal.",
)
@click.option(
    "--start-limit-burst",
    metavar="NUMBER",
    type=click.IntRange(0, 999),
    default=Settings.start_limit_burst,
    show_default=True,
    help="After so many failures a reload has to be forced; 0 for no limit.",
)
@click.option(
    "--start-limit-interval",
    metavar="TIME",
    default="10min",
    show_default=True,
    callback=check_some_time,
    help="Failures older than this do not count.",
)
@click.option(
    "--stop-signal",
    metavar="SIGNAL",
    default="SIGTERM",
    show_default=True,
    callback=check_signal,
    shell_complete=complete.signals,
    help="What asks PROGRAM to end.",
)
@click.option(
    "--reopen-signal",
    metavar="SIGNAL",
    callback=check_optional_signal,
    shell_complete=complete.signals,
    help="Sent to the first process of each generation at `sockact rotate`.  [default: none]",
)
@click.option(
    "--watch",
    metavar="PATH",
    multiple=True,
    callback=check_watch,
    help="Reload when this file, directory or link changes; may be repeated.",
)
@click.option(
    "--watch-ignore",
    metavar="NAME",
    multiple=True,
    callback=check_pattern,
    help="Files and directories of this name do not count, where * stands for anything; may be "
    "repeated.",
)
@click.option(
    "--watch-delay",
    metavar="TIME",
    default=f"{Settings.watch_delay:g}s",
    show_default=True,
    callback=check_time,
    help="Time without a change before such a reload.",
)
@click.option(
    "--watch-pause",
    metavar="TIME",
    default="1min",
    show_default=True,
    callback=check_time,
    help="After 10 such reloads without this much time in between there are no more until it is "
    "quiet for so long.",
)
@click.option(
    "--identifier",
    metavar="TEXT",
    default="",
    callback=check_identifier,
    help="In the journal, PROGRAM's lines are TEXT-1's, TEXT-2's and so on, by generation.  "
    "[default: as systemd says]",
)
@click.option(
    "--log",
    metavar="FILE",
    callback=check_log,
    help="Where PROGRAM's output goes, line by line, in all generations.  [default: as ours]",
)
@click.option(
    "--log-stderr",
    metavar="FILE",
    callback=check_log,
    help="Where its standard error goes.  [default: as --log]",
)
@hooks.options
@click.argument(
    "program",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="PROGRAM [ARG]...",
    shell_complete=complete.program,
)
def command(
    program: tuple[str, ...],
    config: Loaded | None,
    name: str | None,
    directory: str | None,
    adopt: str,
    **options: Any,
) -> Settings:
    """Run PROGRAM under a supervisor, so that `sockact reload` can replace it.

    The program and its command line stay as they are. Times are in seconds, or like '1min 30s'.
    """
    if config:
        if program:
            raise click.UsageError(f"the program is in {config.path}: leave it out here")
        return _configured(config, name, directory, {"adopt": Adopt(adopt), **options})
    if not program:
        raise click.UsageError(
            "no program given: write it last, as in `sockact run -- gunicorn app:app`"
        )
    name = name or name_of(program)
    _check_together(options)
    return Settings(name, program, logical(directory), adopt=Adopt(adopt), **options)


def _check_together(options: dict[str, Any]) -> None:
    """Raises UsageError for options that do not go together, or name what is not there."""
    probes.check_together(options)
    if options["reopen_signal"] == options["stop_signal"]:
        raise click.UsageError("--reopen-signal and --stop-signal are the same: it would end")
    hooks.check_there(options["on"])


def _configured(
    config: Loaded, name: str | None, directory: str | None, options: dict[str, Any]
) -> Settings:
    """What the file says, and where it says nothing the command line. Raises Invalid."""
    said = config.checked
    try:
        name = name or name_of(said.command)
        _check_together(options)
    except click.UsageError as error:
        raise config.refuse(error) from None
    return Settings(
        name,
        said.command,
        logical(directory or said.release or None),
        **options,
        environment=said.environment,
        release=said.release,
        config=config.path,
        config_text=config.document.text,
    )


def name_of(command: tuple[str, ...]) -> str:
    """The name of a service that was given none. Raises UsageError."""
    name = os.path.basename(command[0])
    if name.startswith(("python", "pypy")):
        name = _module_of(command[1:]) or name
    if not paths.valid_name(name):
        raise click.UsageError(f"{name!r} cannot name a service: choose a name with --name")
    return name


def _module_of(arguments: tuple[str, ...]) -> str | None:
    """The MODULE of `python [OPTIONS] -m MODULE`."""
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return None
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for position, letter in enumerate(word[1:], 2):
            if letter == "c":
                return None
            if letter == "m":
                return word[position:] or next(words, None)
            if letter in "WX":
                if not word[position:]:
                    next(words, None)
                break
    return None
