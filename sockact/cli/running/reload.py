"""`sockact reload`: a unit's ExecReload=; its exit code tells whether the successor serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sockact.cli.calls import reload
from sockact.cli.options import canaries
from sockact.cli.options.name import name_argument
from sockact.cli.options.values import check_some_time

if TYPE_CHECKING:
    from typing import Any


@click.command(name="reload", short_help="Switch a service to a new generation.")
@name_argument
@click.option(
    "--wait-drained",
    is_flag=True,
    help="Also wait until the previous generation has drained and ended.",
)
@click.option("--force", is_flag=True, help="Reload even after too many recent failures.")
@click.option("--json", "as_json", is_flag=True, help="Print the handover as JSON.")
@canaries.of_reload
@click.option(
    "--canary-background",
    is_flag=True,
    help="Return as soon as the canary gets its first share; the canary continues.  [default: as "
    "configured]",
)
@click.option(
    "--timeout",
    metavar="TIME",
    callback=check_some_time,
    help="Stop waiting after TIME; the reload continues.  [default: no limit]",
)
def command(
    name: str | None,
    wait_drained: bool,
    force: bool,
    as_json: bool,
    canary_background: bool,
    timeout: float | None,
    **canary: Any,
) -> int:
    """Start a new generation of the service NAME and switch to it.

    The command succeeds when the new generation is serving. Otherwise the previous generation keeps
    serving, and the last lines that the new one wrote are shown. NAME defaults to $SOCKACT_NAME, or
    to the only running service.

    \b
    Example:
      sockact reload --wait-drained --timeout 10min myapp
    """
    if canary_background and wait_drained:
        raise click.UsageError("--canary-background and --wait-drained are mutually exclusive")
    return reload.perform(
        name,
        wait_drained=wait_drained,
        force=force,
        as_json=as_json,
        timeout=timeout,
        canary=canaries.wanted(canary),
        canary_background=canary_background,
    )
