"""`sockact reset`: forgets the failures that count against the limit of launches."""

from __future__ import annotations

import click

from sockact.cli.calls import service


@click.command(name="reset", short_help="Forget the failures of a service.")
@service.name_argument
def command(name: str | None) -> None:
    """Forget the failures of the service NAME, so that it can be reloaded again.

    For what systemd counts use `systemctl reset-failed`. NAME is $SOCKACT_NAME, or the only service
    that runs.
    """
    target = service.one(name)
    with target.connect() as connection:
        connection.call("Reset", {})
    click.echo(f"{target.name}: its failures are forgotten")
