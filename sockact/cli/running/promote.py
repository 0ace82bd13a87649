"""`sockact promote`: gives a canary all clients."""

from __future__ import annotations

import click

from sockact.cli.calls import canary
from sockact.cli.options.name import name_argument


@click.command(name="promote", short_help="Give a canary all clients.")
@name_argument
def command(name: str | None) -> int:
    """Give the canary of the service NAME all clients, and drain the previous generation.

    NAME defaults to $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact promote myapp
    """
    return canary.promote(name)
