"""`sockact rotate`: log files that were moved are reopened; for the postrotate of logrotate."""

from __future__ import annotations

import click

from sockact.cli.calls import rotate
from sockact.cli.options.name import name_argument
from sockact.cli.options.values import check_some_time


@click.command(name="rotate", short_help="Reopen rotated log files.")
@name_argument
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option(
    "--timeout",
    metavar="TIME",
    default=f"{rotate.TIMEOUT / 60:g}min",
    show_default=True,
    callback=check_some_time,
    help="Stop waiting after TIME; the rotation continues.",
)
def command(name: str | None, as_json: bool, timeout: float) -> int:
    """Make every process of the service NAME reopen log files that have been moved.

    The command succeeds once no process writes to the old files. NAME defaults to $SOCKACT_NAME, or
    to the only running service.

    \b
    Example:
      sockact rotate --timeout 30s myapp
    """
    return rotate.perform(name, as_json=as_json, timeout=timeout)
