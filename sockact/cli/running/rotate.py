"""`sockact rotate`: log files that were moved are reopened; for the postrotate of logrotate."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from sockact.cli.calls import service
from sockact.cli.main import Failure, complain
from sockact.cli.options.values import check_some_time
from sockact.supervisor.control import client

if TYPE_CHECKING:
    from typing import Any


@click.command(name="rotate", short_help="Reopen log files that were moved.")
@service.name_argument
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option(
    "--timeout",
    metavar="TIME",
    default="2min",
    show_default=True,
    callback=check_some_time,
    help="Stop waiting after this time; the rotation goes on.",
)
def command(name: str | None, as_json: bool, timeout: float) -> None:
    """Let every process of the service NAME reopen the log files that were moved.

    Succeeds when nothing goes to the old files any more. NAME is $SOCKACT_NAME, or the only service
    that runs.
    """
    target = service.one(name)
    rotation = _rotate(target, timeout)
    if as_json:
        click.echo(json.dumps(rotation, indent=2))
    else:
        click.echo(f"{target.name}: {_described(rotation)}")
    for one in rotation["errors"]:
        process = "" if one["pid"] is None else f"process {one['pid']}: "
        complain(Failure(f"{target.name}: {process}{one['error']}"))
    if rotation["errors"]:
        sys.exit(1)


def _rotate(target: service.Service, timeout: float) -> dict[str, Any]:
    with target.connect(min(timeout, service.ANSWER_SECONDS)) as connection:
        try:
            answer = connection.call("Rotate", timeout=timeout)
        except client.Timeout as error:
            raise Failure(
                f"{target.name}: no answer within {timeout:g} s; do not compress the old files yet"
            ) from error
    rotation: dict[str, Any] = answer["rotation"]
    return rotation


def _described(rotation: dict[str, Any]) -> str:
    text = (
        f"{_counted(rotation['files'], 'file')} reopened "
        f"in {_counted(rotation['processes'], 'process', 'es')}"
    )
    if signalled := rotation["signalled"]:
        text += f", {_counted(signalled, 'process', 'es')} signalled"
    return text


def _counted(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{'' if number == 1 else plural}"
