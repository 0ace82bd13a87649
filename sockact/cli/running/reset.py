"""`sockact reset`: clears the failures that count against the limit of launches."""

from __future__ import annotations

import click

from sockact.cli.calls import service
from sockact.cli.options.name import name_argument
from sockact.cli.terminal.output import say


@click.command(name="reset", short_help="Clear a service's failure count.")
@name_argument
def command(name: str | None) -> None:
    """Clear the failure count of the service NAME, so that it can be reloaded again.

    For the failures that systemd counts, use `systemctl reset-failed`. NAME defaults to
    $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact reset myapp
    """
    target = service.one(name)
    with target.connect() as connection:
        connection.call("Reset", {}, service.ANSWER_SECONDS)
    say(f"{target.name}: failure count cleared")
