"""`sockact unwrap`: takes back what `sockact wrap` has written, and restarts the service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from sockact.cli.failures import Failure
from sockact.cli.options import complete
from sockact.cli.setup.wrap import failure, read, split, told
from sockact.cli.unit_files import wrapped
from sockact.core.errors import OperatorError
from sockact.units.check import sockets
from sockact.units.manager import Manager
from sockact.units.wrap import marks, places, running_service, unwrapping
from sockact.units.wrap.outage import Outage
from sockact.units.wrap.undoing import interruptible

if TYPE_CHECKING:
    from sockact.core.matching import Address
    from sockact.units.facts import Facts
    from sockact.units.wrap.migration import Done
    from sockact.units.wrap.places import Place

# What systemd's own work takes, beside that of the programs.
_MARGIN = 120.0
_LONGEST = 3600.0


@click.command(name="unwrap", short_help="Take `sockact wrap` back.")
@click.argument("unit", shell_complete=complete.wrapped)
@click.option("--user-unit", is_flag=True, help="A unit of `systemctl --user`.")
@click.option(
    "--force",
    is_flag=True,
    help="Even if the files were changed, or the program does not start anew.",
)
def command(unit: str, user_unit: bool, force: bool) -> None:
    """Remove the files that `sockact wrap` has written, and restart the service without sockact.

    Requests that are under way are answered. New clients are refused from the moment that the
    socket closes until the program itself listens.
    """
    manager = Manager(user_unit)
    try:
        found = read(manager, unit)
        place = wrapped.place_of(found.service.name, user_unit=user_unit)
        drop_in, socket = _files(place, force=force)
    except OperatorError as error:
        raise Failure(str(error)) from error
    done = _unwrap(user_unit, found, place, drop_in, socket, force=force)
    for path, text in ((place.drop_in_path, drop_in), (place.socket_path, socket)):
        if text:
            click.echo(f"  removed {path}")
    runs = f"; {told(done)}" if done.waited else ""
    click.echo(f"{place.service}: unwrapped{runs}")


def _unwrap(
    user_unit: bool, found: Facts, place: Place, drop_in: str, socket: str, *, force: bool
) -> Done:
    needs = found.service.span("TimeoutStopUSec") + found.service.span("TimeoutStartUSec")
    manager = Manager(user_unit, min(needs + _MARGIN, _LONGEST))
    outage = Outage(_addresses(manager, found, place, socket))
    split(place.name, user_unit=user_unit)
    try:
        with interruptible():
            return unwrapping.unwrap(manager, place, drop_in, socket, outage, force=force)
    except OperatorError as error:
        raise failure(error, "it is wrapped as before", outage) from error


def _addresses(manager: Manager, found: Facts, place: Place, socket: str) -> list[Address]:
    """Of our .socket unit; where its file is gone, what sockact still has of it."""
    if socket or not found.sockets:
        own = [one for one in found.sockets if one.name == place.socket]
        known = [address for one in own for address in sockets.addresses_of(one)[0]]
        return known or running_service.handed(manager, place)
    return []


def _files(place: Place, *, force: bool) -> tuple[str, str]:
    """The texts of the drop-in and the .socket unit; "": there is none of ours. A wrap that was
    killed may have left only the latter.
    """
    texts = {path: places.ours(path) for path in (place.drop_in_path, place.socket_path)}
    foreign = not texts[place.drop_in_path] and os.path.lexists(place.drop_in_path)
    if foreign or not any(texts.values()):
        there = "is not ours" if foreign else "is not there"
        raise OperatorError(f"{place.service} is not wrapped: {place.drop_in_path} {there}")
    for path, text in texts.items():
        if text and not marks.is_unchanged(text) and not force:
            raise OperatorError(
                f"{path} was changed since it was written: move it away, or add --force to "
                f"remove it all the same"
            )
    return texts[place.drop_in_path], texts[place.socket_path]
