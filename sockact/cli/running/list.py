"""`sockact list`: a line for each service of this host."""

from __future__ import annotations

import click

from sockact.cli.calls import list as services


@click.command(name="list", short_help="List the running services.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(as_json: bool) -> int:
    """List the running services of this host, each with its state and last handover.

    A service that does not answer within 2 s is listed as such. Services of other users are listed
    for root only.

    \b
    Example:
      sockact list
    """
    return services.perform(as_json=as_json)
