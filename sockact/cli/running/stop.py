"""`sockact stop`: ends a service that no unit runs; for a unit use `systemctl stop`."""

from __future__ import annotations

import click

from sockact.cli.calls import stop
from sockact.cli.options.name import name_argument


@click.command(name="stop", short_help="Stop a service.")
@name_argument
@click.option("--now", is_flag=True, help="Do not wait for connections to finish.")
def command(name: str | None, now: bool) -> int:
    """Stop the service NAME once its connections have finished, and return when it has stopped.

    For a service that runs in a unit, use `systemctl stop`. NAME defaults to $SOCKACT_NAME, or to
    the only running service.

    \b
    Example:
      sockact stop myapp
    """
    return stop.perform(name, now=now)
