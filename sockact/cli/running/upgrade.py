"""`sockact upgrade`: running supervisors go on with the sockact that is installed now."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from sockact.cli.calls import service
from sockact.cli.main import Failure, complain, printable
from sockact.supervisor.control import client

if TYPE_CHECKING:
    from sockact.cli.calls.service import Service

SECONDS = 90.0
"""A supervisor waits 30 s for what is under way, and as long for the proof of the new version."""
_AT_ONCE = 8
"""On a small machine, hundreds that start at the same time would only wait for each other."""


@click.command(name="upgrade", short_help="Go on with the sockact that is installed now.")
@service.name_argument
@click.option("--all", "everything", is_flag=True, help="All services that run; none is no error.")
def command(name: str | None, everything: bool) -> None:
    """Let the supervisor of the service NAME go on with the sockact that is installed now.

    Its process, the program and all connections stay. Where the new version cannot take over, the
    old one goes on, and the reason is shown; where a reload is under way, it follows after that.
    NAME is $SOCKACT_NAME, or the only service that runs.
    """
    if not everything:
        click.echo(_upgrade(service.one(name)))
        return
    if _named(click.get_current_context()):
        raise click.UsageError("write NAME or --all, not both")
    failures = _upgrade_all(service.found())
    for failure in failures:
        complain(failure)
    if failures:
        sys.exit(1)


def _named(context: click.Context) -> bool:
    """Was NAME written? That of the environment does not count."""
    return context.get_parameter_source("name") is click.core.ParameterSource.COMMANDLINE


def _upgrade_all(services: list[Service]) -> list[Failure]:
    """Those that go on with the version that they have."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = [pool.submit(_upgrade, one) for one in services]
    failures = []
    for outcome in outcomes:
        try:
            click.echo(outcome.result())
        except Failure as failure:
            failures.append(failure)
    return failures


def _upgrade(target: Service) -> str:
    with target.connect() as connection:
        try:
            answer = connection.call("Upgrade", timeout=SECONDS)
        except client.RemoteError as error:
            if not error.name.endswith(".UpgradeFailed"):
                raise
            reason = error.parameters.get("reason", "no reason given")
            raise Failure(f"{target.name}: not upgraded: {reason}") from error
    # As root we may be speaking to what another user has put there.
    version, before = (printable(str(answer.get(key))) for key in ("version", "before"))
    return f"{target.name}: runs sockact {version} now, {before} before"
