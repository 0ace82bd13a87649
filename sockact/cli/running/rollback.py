"""`sockact rollback`: takes back a release by hand."""

from __future__ import annotations

import click

from sockact.cli.calls import rollback
from sockact.cli.options.name import name_argument


@click.command(name="rollback", short_help="Switch back to the previous generation.")
@name_argument
@click.option("--json", "as_json", is_flag=True, help="Print the handover as JSON.")
def command(name: str | None, as_json: bool) -> int:
    """Switch the service NAME back to the previous generation and drain the current one.

    This takes milliseconds. It works while the previous generation is still there: during a trial,
    while it is kept (`sockact run --keep-predecessor`), and while it is draining. A reload in
    progress is abandoned. The files of the release on disk are not changed: fix them before the
    next reload. NAME defaults to $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact rollback myapp
    """
    return rollback.perform(name, as_json=as_json)
