"""`sockact status`: the state of services, as text or JSON, once or until interrupted."""

from __future__ import annotations

import click

from sockact.cli.calls import status, watch
from sockact.cli.options.name import name_argument


@click.command(name="status", short_help="Show a service in detail.")
@name_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON; a list if NAME is omitted.")
@click.option(
    "--watch", "watched", is_flag=True, help="Update on every change, and at least once a second."
)
def command(name: str | None, as_json: bool, watched: bool) -> int:
    """Show the generations, listeners and last handover of the service NAME.

    Connections are active (a request is in progress), new (no request yet) or idle. NAME defaults
    to $SOCKACT_NAME, or to all running services.

    \b
    Example:
      sockact status --watch myapp
    """
    call = watch.perform if watched else status.perform
    return call(name, as_json=as_json)
