"""NAME, the argument of commands for one running service."""

from __future__ import annotations

import click

from sockact.cli.options import complete
from sockact.cli.options.values import check_name

name_argument = click.argument(
    "name",
    required=False,
    callback=check_name,
    envvar="SOCKACT_NAME",
    metavar="[NAME]",
    shell_complete=complete.names,
)
