"""`sockact canary`: gives a canary another share of the clients by hand."""

from __future__ import annotations

import click

from sockact.cli.calls import canary
from sockact.cli.options import complete
from sockact.cli.options.values import check_name, check_share


@click.command(name="canary", short_help="Change the share of a canary.")
@click.argument("name", callback=check_name, metavar="NAME", shell_complete=complete.names)
@click.argument("share", metavar="SHARE", callback=check_share)
def command(name: str, share: int) -> int:
    """Give the canary of the service NAME a SHARE of the new clients, such as 25%.

    The canary keeps this share until `sockact promote` gives it all clients, or `sockact rollback`
    switches back to the previous generation.

    \b
    Example:
      sockact canary myapp 25%
    """
    return canary.set_share(name, share)
