"""`sockact rollback`: takes back a release by hand, while the generation before is still there."""

from __future__ import annotations

import json
from typing import Any

import click

from sockact.cli.calls import service
from sockact.cli.main import Failure
from sockact.supervisor.control import client


@click.command(name="rollback", short_help="Go back to the generation before.")
@service.name_argument
@click.option("--json", "as_json", is_flag=True, help="Print the handover as JSON.")
def command(name: str | None, as_json: bool) -> None:
    """Let the generation before serve again, and drain the one that came after it.

    That takes milliseconds, and works as long as it is there: during a trial, while it is kept
    (`sockact run --keep-predecessor`), and while it drains. A reload that is under way is given up.
    The files of the release on disk stay as they are: mend them before the next reload. NAME is
    $SOCKACT_NAME, or the only service that runs.
    """
    target = service.one(name)
    handover = _rollback(target)
    if as_json:
        click.echo(json.dumps(handover, indent=2))
    if not handover["rollback"]:
        text = f"generation {handover['to']} is given up"
        if (serving := handover.get("from")) is not None:
            text += f"; generation {serving} serves"
    elif handover["outcome"] == "committed":
        text = f"generation {handover['to']} serves again"
        if (bad := handover.get("from")) is not None:
            text += f"; generation {bad} drains"
    else:
        text = f"generation {handover['to']} failed: {handover['reason']}"
        if (serving := handover.get("from")) is not None and not handover["drained"]:
            text += f"; generation {serving} goes on serving"
        raise Failure(f"{target.name}: {text}")
    if not as_json:
        click.echo(f"{target.name}: {text}")


def _rollback(target: service.Service) -> dict[str, Any]:
    with target.connect() as connection:
        try:
            answer = connection.call("Rollback", {})
        except client.RemoteError as error:
            if error.name.endswith(".NoPredecessor"):
                raise Failure(
                    f"{target.name}: no generation is left to go back to: deploy the release "
                    f"before, then `sockact reload {target.name}`"
                ) from error
            if not error.name.endswith(".RollbackFailed"):
                raise
            answer = error.parameters
    handover: dict[str, Any] = answer["handover"]
    return handover
