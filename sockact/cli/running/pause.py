"""`sockact pause` and `sockact resume`: clients wait until they are accepted again."""

from __future__ import annotations

import click

from sockact.cli.calls import service
from sockact.cli.options.name import name_argument
from sockact.cli.options.values import check_pause
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import say
from sockact.core.numbers import span
from sockact.supervisor.control import client, interface, varlink

_DATAGRAMS = "; datagrams wait in the socket's buffer, and those that do not fit are lost"


@click.command(name="pause", short_help="Stop accepting new connections for a while.")
@name_argument
@click.option(
    "--max",
    "most",
    metavar="TIME",
    default=span(interface.PAUSE),
    show_default=True,
    callback=check_pause,
    help=f"Accept connections again after TIME, at most {span(interface.LONGEST_PAUSE)}.",
)
def command(name: str | None, most: float) -> None:
    """Stop accepting new connections to the service NAME until `sockact resume`.

    New clients wait meanwhile; open connections are served as before. The command returns when no
    generation accepts connections any more. If a generation cannot be stopped from accepting, all
    generations accept connections again, and the command fails. A second `sockact pause` sets a new
    TIME. NAME defaults to $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact pause --max 2min myapp
    """
    target = service.one(name)
    found = _call(target, "Pause", {"max": most})
    left = f"{found['seconds_left']:.0f} s"
    note = _DATAGRAMS if found["datagrams"] else ""
    say(f"{target.name}: paused; clients wait for up to {left}, or until `sockact resume`{note}")


@click.command(name="resume", short_help="End a pause.")
@name_argument
def resume(name: str | None) -> None:
    """Accept connections to the service NAME again after `sockact pause`.

    Clients that were waiting are accepted. NAME defaults to $SOCKACT_NAME, or to the only running
    service.

    \b
    Example:
      sockact resume myapp
    """
    target = service.one(name)
    _call(target, "Resume", {})
    say(f"{target.name}: resumed")


def _call(target: service.Service, method: str, parameters: dict[str, float]) -> varlink.JsonObject:
    with target.connect() as connection:
        try:
            return target.call(connection, method, parameters, service.ANSWER_SECONDS)
        except client.RemoteError as error:
            if error.name == interface.PAUSE_FAILED:
                reason = error.parameters["reason"]
                raise Failure(f"{target.name}: not paused: {reason}") from error
            if error.name == interface.NOT_PAUSED:
                raise Failure(f"{target.name}: not paused; nothing to resume") from error
            raise
