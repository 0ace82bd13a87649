"""`sockact reload`: a unit's ExecReload=; its exit code tells whether the successor serves."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from sockact.cli.calls import service
from sockact.cli.main import Failure
from sockact.cli.options.values import check_some_time
from sockact.core.lifecycle.turn import STOPPING
from sockact.supervisor.control import client


@click.command(name="reload", short_help="Replace the program by a new generation.")
@service.name_argument
@click.option("--wait-drained", is_flag=True, help="Wait until the old generation has ended, too.")
@click.option("--force", is_flag=True, help="Reload although too much has failed lately.")
@click.option("--json", "as_json", is_flag=True, help="Print the handover as JSON.")
@click.option(
    "--timeout",
    metavar="TIME",
    callback=check_some_time,
    help="Stop waiting after this time; the reload goes on.  [default: wait for its end]",
)
def command(
    name: str | None, wait_drained: bool, force: bool, as_json: bool, timeout: float | None
) -> None:
    """Start a new generation of the service NAME and let it take over.

    Succeeds when the new generation serves. Otherwise the old one goes on serving, and what the
    new one wrote last is shown. NAME is $SOCKACT_NAME, or the only service that runs.
    """
    target = service.one(name)
    handover = _reload(target, {"wait_drained": wait_drained, "force": force}, timeout)
    if as_json:
        click.echo(json.dumps(handover, indent=2))
    _raise_unless_committed(target, handover)
    if not as_json:
        click.echo(f"{target.name}: {_succeeded(handover)}")


def perform(target: service.Service) -> str:
    """For another command: what has come of it, in words. Raises Failure."""
    handover = _reload(target, {}, None)
    _raise_unless_committed(target, handover)
    return _succeeded(handover)


def _raise_unless_committed(target: service.Service, handover: dict[str, Any]) -> None:
    if handover["outcome"] != "committed":
        raise Failure(f"{target.name}: {_failed(handover)}", quoted=tuple(handover["stderr"]))


def _reload(
    target: service.Service, flags: dict[str, bool], timeout: float | None
) -> dict[str, Any]:
    with target.connect(
        min(timeout or service.ANSWER_SECONDS, service.ANSWER_SECONDS)
    ) as connection:
        try:
            # systemd.exec(5): only commands such as ExecReload= get $MAINPID.
            own = os.environ.get("MAINPID") == str(connection.supervisor)
            answer = connection.call("Reload", {**flags, "exec_reload": own}, timeout)
        except client.RemoteError as error:
            if error.name.endswith(".TooManyFailures"):
                raise Failure(_too_many(target.name, error.parameters)) from error
            if error.name.endswith(".ConfigurationRefused"):
                reason = error.parameters.get("reason", "its configuration is invalid")
                text = f"{target.name}: not reloaded: {reason}; everything goes on as it was"
                raise Failure(text) from error
            if not error.name.endswith(".ReloadFailed"):
                raise
            answer = error.parameters
        except client.Timeout as error:
            raise Failure(
                f"{target.name}: no outcome within {timeout:g} s; the reload goes on, "
                f"`sockact status {target.name}` shows it"
            ) from error
    handover: dict[str, Any] = answer["handover"]
    return handover


def _too_many(name: str, parameters: dict[str, Any]) -> str:
    return (
        f"{name}: not reloaded: {parameters.get('reason', 'too much has failed lately')}; "
        f"mend it, then `sockact reload --force {name}`, or `sockact reset {name}` first"
    )


def _failed(handover: dict[str, Any]) -> str:
    if handover["reason"] == STOPPING:
        # Nothing is wrong with the successor, and the predecessor does not go on either.
        return STOPPING
    text = f"generation {handover['to']} failed: {handover['reason'] or 'no reason given'}"
    predecessor = handover.get("from")
    if predecessor is not None and not handover["drained"]:
        text += f"; generation {predecessor} goes on serving"
    return text


def _succeeded(handover: dict[str, Any]) -> str:
    text = f"generation {handover['to']} serves (after {handover['duration_seconds']:.2f} s)"
    if (predecessor := handover.get("from")) is not None:
        kept = "is kept" if handover.get("kept") else "drains"
        text += f"; generation {predecessor} {'has drained' if handover['drained'] else kept}"
    return text
