"""`sockact run`: checks the options, and hands them to the supervisor, another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sockact.cli.options import canaries, checks, complete, hooks, probes, warm
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
    directory_option,
)
from sockact.cli.starting.default_name import default_name
from sockact.core.settings import Adopt, LaneUse, MoveUse, Settings

if TYPE_CHECKING:
    from typing import Any

    from sockact.cli.configuration.loader import Loaded


def _load(context: click.Context, _option: click.Parameter, value: str | None) -> Loaded | None:
    if value is None or context.resilient_parsing:
        return None
    from sockact.cli.configuration import loader  # Most command lines have no file.

    return loader.take(context, value)


@click.command(
    name="run",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] [--]",
    short_help="Run a program under a supervisor.",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    is_eager=True,
    callback=_load,
    help="Read the program and its options from FILE, or from /etc/sockact/FILE.toml. "
    "Command-line options take precedence.",
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
    help="Listen on ADDR if there is no .socket unit. May be repeated.",
)
@directory_option("current directory")
@click.option(
    "--adopt",
    type=click.Choice([kind.value for kind in Adopt]),
    default=Settings.adopt.value,
    show_default=True,
    help="Method of passing the listeners to PROGRAM.",
)
@click.option(
    "--lanes",
    type=click.Choice([use.value for use in LaneUse]),
    default=Settings.lanes.value,
    show_default=f"{LaneUse.AUTO.value} with --canary or --warm, else {Settings.lanes.value}",
    help="Give each generation a listener of its own.",
)
@click.option(
    "--move-connections",
    type=click.Choice([use.value for use in MoveUse]),
    default=Settings.move_connections.value,
    show_default=True,
    callback=lambda _context, _option, use: MoveUse(use),
    help="Move open HTTP/1 connections to the next generation at a reload.",
)
@canaries.of_run
@click.option(
    "--canary-background",
    is_flag=True,
    help="Return from a reload as soon as the canary gets its first share; the canary continues.",
)
@click.option(
    "--ready",
    metavar="KIND",
    default=Settings.ready,
    show_default=True,
    callback=probes.check_ready,
    shell_complete=complete.one_of("interest", "notify"),
    help="Condition for a generation to be ready: interest, notify, http://ADDRESS/PATH or "
    "exec:COMMAND.",
)
@click.option(
    "--start-timeout",
    metavar="TIME",
    default=f"{Settings.start_timeout:g}s",
    show_default=True,
    callback=check_some_time,
    help="Time limit for a generation to become ready.",
)
@warm.warm_options
@probes.trial_options
@click.option(
    "--drain-timeout",
    metavar="TIME",
    default=f"{Settings.drain_timeout:g}s",
    show_default=True,
    callback=check_time,
    help="Time for connections to finish before the stop signal is sent.",
)
@click.option(
    "--quiet-after",
    metavar="TIME",
    default=f"{Settings.quiet_after:g}s",
    show_default=True,
    callback=check_time,
    help="Time without traffic after which a connection counts as idle and no longer delays the "
    "stop signal.",
)
@click.option(
    "--close-spread",
    metavar="TIME",
    default="0",
    show_default=True,
    callback=check_time,
    help="Time over which a draining generation closes its connections, so that its clients do not "
    "all reconnect at once.",
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
    help="Maximum number of draining generations; beyond it, the oldest is stopped.",
)
@click.option(
    "--start-limit-burst",
    metavar="NUMBER",
    type=click.IntRange(0, 999),
    default=Settings.start_limit_burst,
    show_default=True,
    help="Number of failures after which reloads need --force; 0 for no limit.",
)
@click.option(
    "--start-limit-interval",
    metavar="TIME",
    default="10min",
    show_default=True,
    callback=check_some_time,
    help="Time after which a failure no longer counts.",
)
@click.option(
    "--stop-signal",
    metavar="SIGNAL",
    default="SIGTERM",
    show_default=True,
    callback=check_signal,
    shell_complete=complete.signals,
    help="Signal that asks PROGRAM to terminate.",
)
@click.option(
    "--reopen-signal",
    metavar="SIGNAL",
    callback=check_optional_signal,
    shell_complete=complete.signals,
    help="Signal that makes PROGRAM reopen its log files, sent to the first process of each "
    "generation by `sockact rotate`.  [default: none]",
)
@click.option(
    "--watch",
    metavar="PATH",
    multiple=True,
    callback=check_watch,
    help="Reload when the file, directory or symbolic link PATH changes. May be repeated.",
)
@click.option(
    "--watch-ignore",
    metavar="NAME",
    multiple=True,
    callback=check_pattern,
    help="Ignore changes of files and directories named NAME; * matches anything. May be repeated.",
)
@click.option(
    "--watch-delay",
    metavar="TIME",
    default=f"{Settings.watch_delay:g}s",
    show_default=True,
    callback=check_time,
    help="Time without a change before a --watch reload.",
)
@click.option(
    "--watch-pause",
    metavar="TIME",
    default="1min",
    show_default=True,
    callback=check_time,
    help="After 10 --watch reloads in a row less than TIME apart, suspend them until nothing has "
    "changed for TIME.",
)
@click.option(
    "--identifier",
    metavar="TEXT",
    default="",
    callback=check_identifier,
    help="Journal identifier of PROGRAM's output: TEXT-1, TEXT-2, …, by generation.  "
    "[default: set by systemd]",
)
@click.option(
    "--log",
    metavar="FILE",
    callback=check_log,
    help="File to append the standard output and error of all generations to.  [default: same as "
    "sockact's own]",
)
@click.option(
    "--log-stderr",
    metavar="FILE",
    callback=check_log,
    help="File to append the standard error of all generations to, instead of the --log file.  "
    "[default: same as --log]",
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
    lanes: str,
    **options: Any,
) -> Settings:
    """Run PROGRAM under a supervisor, so that `sockact reload` can replace it.

    PROGRAM and its command line need no changes. TIME is a number of seconds, or has units, as in
    '1min 30s'.

    \b
    Example:
      sockact run --name myapp --listen 127.0.0.1:8000 \\
          -- gunicorn --bind 127.0.0.1:8000 app:app
    """
    if (options["canary"] or options["warm"]) and not _is_given("lanes"):
        lanes = LaneUse.AUTO.value
    options |= {"adopt": Adopt(adopt), "lanes": LaneUse(lanes)}
    if config:
        if program:
            raise click.UsageError(f"{config.path} already names the program; leave it out here")
        return _configured(config, name, directory, options)
    if not program:
        raise click.UsageError(
            "no program given; put it last, as in `sockact run -- gunicorn app:app`"
        )
    name = name or name_of(program)
    check_together(options)
    return Settings(name, program, checks.logical(directory), **options)


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is not ParameterSource.DEFAULT


def check_together(options: dict[str, Any]) -> None:
    """Raises UsageError for options that contradict each other, or name missing programs."""
    probes.check_together(options)
    warm.check_together(options)
    if options["close_spread"] > options["drain_timeout"]:
        raise click.UsageError("--close-spread must not be longer than --drain-timeout")
    if options["reopen_signal"] == options["stop_signal"]:
        raise click.UsageError("--reopen-signal and --stop-signal must be different signals")
    hooks.check_there(options["on"])


def _configured(
    config: Loaded, name: str | None, directory: str | None, options: dict[str, Any]
) -> Settings:
    """The settings of the file, completed by the command line. Raises Invalid."""
    said = config.checked
    try:
        name = name or name_of(said.command)
        check_together(options)
    except click.UsageError as error:
        raise config.refuse(error) from None
    return Settings(
        name,
        said.command,
        checks.logical(directory or said.release or None),
        **options,
        environment=said.environment,
        release=said.release,
        config=config.path,
        config_text=config.document.text,
    )


def name_of(command: tuple[str, ...]) -> str:
    """Return the default name of a service that runs this command. Raises UsageError."""
    try:
        return default_name(command)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
