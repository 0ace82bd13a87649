"""`sockact config`: what is, and what was, in the configuration file of a service."""

from __future__ import annotations

import datetime
import difflib
import os
from typing import TYPE_CHECKING

import click

from sockact.cli.calls import reload, service
from sockact.cli.configuration import document, kept, loading
from sockact.cli.setup import run
from sockact.core.settings import Settings
from sockact.supervisor.control import paths

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = {"check": (0, 0), "show": (0, 1), "diff": (0, 2), "history": (0, 0), "rollback": (1, 1)}
"""Action → how many numbers it takes, at least and at most."""


@click.command(name="config", short_help="Check a configuration file, or go back to one.")
@click.argument("action", type=click.Choice([*_NUMBERS]), metavar="ACTION")
@click.argument("file", metavar="FILE")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1, 999_999_999))
def command(action: str, file: str, numbers: tuple[int, ...]) -> None:
    """Look at the configuration of a service. FILE is its name, or its file.

    check: is it what `sockact run --config FILE` takes?

    show: what the file says, or configuration NUMBER of those that have served.

    diff: from the last that has served, or from NUMBER, to the file, or to a second NUMBER.

    history: those that have served.

    rollback: put NUMBER back into the file, and reload. When that fails, the file is as before.
    """
    least, most = _NUMBERS[action]
    if not least <= len(numbers) <= most:
        wanted = {(0, 0): "no NUMBER", (1, 1): "one NUMBER"}.get((least, most), f"at most {most}")
        raise click.UsageError(f"{action} takes {wanted}")
    _ACTIONS[action](file, numbers)


def read(file: str) -> Settings:
    """As `sockact run --config FILE` would. Raises Invalid, UsageError."""
    with run.command.make_context("run", ["--config", file]) as context:
        found = run.command.invoke(context)
    assert isinstance(found, Settings)
    return found


def _name(file: str) -> str:
    """Of the service, even if the file is not valid now."""
    path = loading.place(file)
    try:
        said = document.read(path).values.get("name")
    except document.Unreadable:
        said = None
    name = said if isinstance(said, str) else os.path.splitext(os.path.basename(path))[0]
    if not paths.valid_name(name):
        raise click.UsageError(f"{name!r} in {path} cannot name a service")
    return name


def _check(file: str, _numbers: tuple[int, ...]) -> None:
    settings = read(file)
    click.echo(f"{settings.config}: good, for the service {settings.name}")


def _show(file: str, numbers: tuple[int, ...]) -> None:
    path = kept.numbered(_name(file), numbers[0]).path if numbers else loading.place(file)
    click.echo(kept.text_of(path), nl=False)


def _history(file: str, _numbers: tuple[int, ...]) -> None:
    name = _name(file)
    there = kept.all_of(name)
    if not there:
        click.echo(f"{name}: none has served yet (looked in {kept.folder(name)})", err=True)
    for one in there:
        since = datetime.datetime.fromtimestamp(os.stat(one.path).st_mtime).astimezone()
        click.echo(f"{one.number:>4}  {since:%Y-%m-%d %H:%M:%S %z}  {one.path}")


def _diff(file: str, numbers: tuple[int, ...]) -> None:
    name = _name(file)
    chosen = [kept.numbered(name, number).path for number in numbers]
    if not numbers:
        there = kept.all_of(name)
        chosen = [there[-1].path if there else os.devnull]
    if len(chosen) < 2:
        chosen.append(loading.place(file))
    old, new = chosen
    before, after = (_lines(path) for path in chosen)
    for line in difflib.unified_diff(before, after, old, new, lineterm=""):
        click.echo(line)


def _lines(path: str) -> list[str]:
    return [] if path == os.devnull else kept.text_of(path).splitlines()


def _rollback(file: str, numbers: tuple[int, ...]) -> None:
    name, path = _name(file), loading.place(file)
    one = kept.numbered(name, numbers[0])
    ending = os.path.splitext(one.path)[1]
    if os.path.splitext(path)[1] != ending:
        raise click.UsageError(f"{path} is no {ending} file, as configuration {one.number} is")
    target = service.one(name)
    with kept.put_back(path, one.text()):
        read(path)
        handover = reload.reloaded(target)
    click.echo(f"{name}: configuration {one.number}: {handover}")


_ACTIONS: dict[str, Callable[[str, tuple[int, ...]], None]] = {
    "check": _check,
    "show": _show,
    "diff": _diff,
    "history": _history,
    "rollback": _rollback,
}
