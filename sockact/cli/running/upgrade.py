"""`sockact upgrade`: running supervisors switch to the installed version of sockact."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from sockact.cli.calls import service
from sockact.cli.options.name import name_argument
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, printable, say
from sockact.supervisor.control import client, interface

if TYPE_CHECKING:
    from sockact.cli.calls.service import Service

SECONDS = 90.0
"""A supervisor waits 30 s for a reload in progress, and as long for the new version to start."""
_AT_ONCE = 8
"""On a small machine, hundreds that start at the same time would only wait for each other."""


@click.command(name="upgrade", short_help="Switch supervisors to the installed version.")
@name_argument
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All running services; succeeds even if there are none.",
)
def command(name: str | None, everything: bool) -> None:
    """Switch the supervisor of the service NAME to the installed version of sockact.

    The supervisor keeps its process, and the program and all connections are unaffected. If the new
    version cannot take over, the old one keeps running, and the reason is shown. A reload in
    progress is finished first. NAME defaults to $SOCKACT_NAME, or to the only running service.

    \b
    Example:
      sockact upgrade --all
    """
    if not everything:
        say(_upgrade(service.one(name)))
        return
    if _named(click.get_current_context()):
        raise click.UsageError("NAME and --all are mutually exclusive")
    failures = _upgrade_all(service.found())
    for failure in failures:
        complain(failure)
    if failures:
        sys.exit(1)


def _named(context: click.Context) -> bool:
    """Was NAME written? That of the environment does not count."""
    return context.get_parameter_source("name") is click.core.ParameterSource.COMMANDLINE


def _upgrade_all(services: list[Service]) -> list[Failure]:
    """Upgrade all of these; the failures."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        outcomes = [pool.submit(_upgrade, one) for one in services]
    failures = []
    for outcome in outcomes:
        try:
            say(outcome.result())
        except Failure as failure:
            failures.append(failure)
    return failures


def _upgrade(target: Service) -> str:
    with target.connect() as connection:
        try:
            answer = connection.call("Upgrade", timeout=SECONDS)
        except client.RemoteError as error:
            if error.name != interface.UPGRADE_FAILED:
                raise
            reason = error.parameters["reason"]
            raise Failure(f"{target.name}: not upgraded: {reason}") from error
    # As root we may be speaking to what another user has put there.
    version, before = (printable(answer[key]) for key in ("version", "before"))
    return f"{target.name}: upgraded from sockact {before} to {version}"
