"""`sockact unwrap`: undoes `sockact wrap`, and restarts the service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from sockact.cli.options import complete
from sockact.cli.setup.outcome import describe, failure, start_child
from sockact.cli.setup.wrap import read
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import say
from sockact.cli.unit_files import wrapped
from sockact.core.errors import OperatorError
from sockact.units.manager import Manager
from sockact.units.wrap import marked_files, refusals, unwrapping
from sockact.units.wrap.outage import Outage
from sockact.units.wrap.service import Service
from sockact.units.wrap.transaction import interruptible
from sockact.units.wrap.unwrapping import Texts

if TYPE_CHECKING:
    from sockact.core.matching import Address
    from sockact.units.facts import Facts
    from sockact.units.wrap.outage import Outcome
    from sockact.units.wrap.service_files import ServiceFiles

# Seconds. For systemd's own work, beside the service's timeouts.
_MARGIN = 120.0
_LONGEST = 3600.0


@click.command(name="unwrap", short_help="Undo `sockact wrap`.")
@click.argument("unit", shell_complete=complete.wrapped)
@click.option("--user-unit", is_flag=True, help="Unwrap a unit of `systemctl --user`.")
@click.option(
    "--force",
    is_flag=True,
    help="Unwrap even if the files that `sockact wrap` wrote have been changed, and skip the "
    "test that the program still starts.",
)
def command(unit: str, user_unit: bool, force: bool) -> None:
    """Undo `sockact wrap`: remove its files, and restart the service without sockact.

    Requests in progress are completed. New connections are refused from the moment that the socket
    is closed until the program itself listens.

    \b
    Example:
      sockact unwrap gunicorn
    """
    manager = Manager(user_unit)
    try:
        found = read(manager, unit)
        files = wrapped.files_of(found.service.name, user_unit=user_unit)
        if why := refusals.odd_environment(found.service):
            raise OperatorError(f"{files.service} cannot be unwrapped: {why}")
        texts = _texts(files, unwrapping.own_access(found.service), force=force)
    except OperatorError as error:
        raise Failure(str(error)) from error
    outcome = _unwrap(user_unit, found, files, texts, force=force)
    for path, text in ((files.drop_in_path, texts.drop_in), (files.socket_path, texts.socket)):
        if text:
            say(f"  removed {path}")
    clients = f"; {describe(outcome)}" if outcome.waited else ""
    say(f"{files.service}: unwrapped{clients}")


def _unwrap(
    user_unit: bool, found: Facts, files: ServiceFiles, texts: Texts, *, force: bool
) -> Outcome:
    needs = found.service.span("TimeoutStopUSec") + found.service.span("TimeoutStartUSec")
    manager = Manager(user_unit, min(needs + _MARGIN, _LONGEST))
    service = Service(manager, files, found.service)
    outage = Outage(_addresses(service, found, texts.socket))

    def tell(what: str) -> None:
        say(f"{files.service}: {what}")

    start_child(files.name, user_unit=user_unit)
    try:
        with interruptible():
            return unwrapping.unwrap(service, texts, outage, force=force, tell=tell)
    except OperatorError as error:
        raise failure(error, "the service is still wrapped", outage) from error


def _addresses(service: Service, found: Facts, socket: str) -> list[Address]:
    """Return the addresses of our .socket unit or, if its file is gone, of the listeners that
    sockact holds.
    """
    if socket or not found.sockets:
        own = [one for one in found.sockets if one.name == service.files.socket]
        known = [address for one in own for address in one.addresses()[0]]
        return known or service.supervised_addresses()
    return []


def _texts(files: ServiceFiles, access: str, *, force: bool) -> Texts:
    """The texts of our files. A wrap that was killed may have left only the .socket unit."""
    drop_in, socket = map(marked_files.read, (files.drop_in_path, files.socket_path))
    foreign = not drop_in and os.path.lexists(files.drop_in_path)
    if foreign or not (drop_in or socket):
        why = "was not written by `sockact wrap`" if foreign else "does not exist"
        raise OperatorError(f"{files.service} is not wrapped: {files.drop_in_path} {why}")
    for path, text in ((files.drop_in_path, drop_in), (files.socket_path, socket)):
        if text and not marked_files.is_unchanged(text) and not force:
            raise OperatorError(
                f"{path} has changed since `sockact wrap` wrote it; move it elsewhere, or add "
                f"--force to remove it anyway"
            )
    return Texts(drop_in, socket, access)
