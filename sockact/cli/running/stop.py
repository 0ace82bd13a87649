"""`sockact stop`: ends a service that no unit runs; for a unit use `systemctl stop`."""

from __future__ import annotations

import click

from sockact.cli.calls import service
from sockact.supervisor.control import client, paths


@click.command(name="stop", short_help="Stop a service.")
@service.name_argument
@click.option("--now", is_flag=True, help="Do not wait for connections to end.")
def command(name: str | None, now: bool) -> None:
    """Stop the service NAME once its connections have ended, and wait for that.

    NAME is $SOCKACT_NAME, or the only service that runs.
    """
    target = service.one(name)
    with target.connect() as connection:
        try:
            connection.call("Stop", {"now": now})
        except client.Disconnected:
            # It may end before its answer has left.
            if paths.is_running(target.directory):
                raise
    click.echo(f"{target.name}: stopped")
