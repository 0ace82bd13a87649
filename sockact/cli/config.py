"""`sockact config`: what is, and what was, in the configuration file of a service."""

from __future__ import annotations

import click

from sockact.cli import run
from sockact.core.settings import Settings


@click.command(name="config", short_help="Check a configuration file.")
@click.argument("action", type=click.Choice(["check"]), metavar="ACTION")
@click.argument("file", metavar="FILE")
def command(action: str, file: str) -> None:
    """Do ACTION with the configuration of a service, which starts and changes nothing.

    FILE is a file, or the name of a service: /etc/sockact/FILE.toml.

    check: is it what `sockact run --config FILE` takes?
    """
    assert action == "check"
    settings = read(file)
    click.echo(f"{settings.config}: good, for the service {settings.name}")


def read(file: str) -> Settings:
    """As `sockact run --config FILE` would. Raises Invalid, UsageError."""
    with run.command.make_context("run", ["--config", file]) as context:
        found = run.command.invoke(context)
    assert isinstance(found, Settings)
    return found
