"""`sockact config`: the configuration file of a service and its kept versions."""

from __future__ import annotations

import datetime
import difflib
import os
from typing import TYPE_CHECKING

import click

from sockact.cli.calls import reload, service
from sockact.cli.configuration import document, loader, versions
from sockact.cli.starting import run
from sockact.cli.terminal.output import mention, say
from sockact.core.settings import Settings
from sockact.supervisor.control import paths

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS = {"check": (0, 0), "show": (0, 1), "diff": (0, 2), "history": (0, 0), "rollback": (1, 1)}
"""Action → how many numbers it takes: minimum, maximum."""


@click.command(
    name="config", short_help="Check, compare or restore the configuration of a service."
)
@click.argument("action", type=click.Choice([*_NUMBERS]), metavar="ACTION")
@click.argument("file", metavar="FILE")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=click.IntRange(1, 999_999_999))
def command(action: str, file: str, numbers: tuple[int, ...]) -> None:
    """Check, show, compare or restore the configuration file of a service.

    FILE is a path, or the name of a service: NAME stands for /etc/sockact/NAME.toml. The last 50
    configurations with which a generation has served are kept, each identified by a NUMBER.

    \b
    Actions:
      check             Check FILE for mistakes, as a reload does.
      show [NUMBER]     Print FILE or a kept configuration.
      diff [OLD [NEW]]  Compare the kept configuration OLD (default: the
                        newest) with the kept configuration NEW (default:
                        FILE).
      history           List the kept configurations.
      rollback NUMBER   Write a kept configuration to FILE and reload. If
                        the reload fails, restore the previous FILE.

    \b
    Example:
      sockact config diff myapp
    """
    least, most = _NUMBERS[action]
    if not least <= len(numbers) <= most:
        wanted = {(0, 0): "no NUMBER", (0, 1): "at most one NUMBER", (1, 1): "one NUMBER"}
        text = wanted.get((least, most), "at most two numbers")
        raise click.UsageError(f"{action} takes {text}")
    _ACTIONS[action](file, numbers)


def read(file: str) -> Settings:
    """The settings of the file, as `sockact run --config FILE` reads it.

    Raises Invalid, UsageError.
    """
    with run.command.make_context("run", ["--config", file]) as context:
        found = run.command.invoke(context)
    assert isinstance(found, Settings)
    return found


def _name(file: str) -> str:
    """The name of the service, even if the file is invalid."""
    path = loader.place(file)
    try:
        said = document.read(path).values.get("name")
    except document.Unreadable:
        said = None
    name = said if isinstance(said, str) else os.path.splitext(os.path.basename(path))[0]
    if not paths.valid_name(name):
        raise click.UsageError(f"{name!r} in {path} is not a valid service name")
    return name


def _check(file: str, _numbers: tuple[int, ...]) -> None:
    settings = read(file)
    say(f"{settings.config}: valid, for service {settings.name}")


def _show(file: str, numbers: tuple[int, ...]) -> None:
    path = versions.numbered(_name(file), numbers[0]).path if numbers else loader.place(file)
    say(versions.text_of(path), end="")


def _history(file: str, _numbers: tuple[int, ...]) -> None:
    name = _name(file)
    there = versions.all_of(name)
    if not there:
        mention(f"{name}: no configuration has served yet (looked in {versions.folder(name)})")
    for one in there:
        since = datetime.datetime.fromtimestamp(os.lstat(one.path).st_mtime).astimezone()
        say(f"{one.number:>4}  {since:%Y-%m-%d %H:%M:%S %z}  {one.path}")


def _diff(file: str, numbers: tuple[int, ...]) -> None:
    name = _name(file)
    chosen = [versions.numbered(name, number).path for number in numbers]
    if not numbers:
        there = versions.all_of(name)
        chosen = [there[-1].path if there else os.devnull]
    if len(chosen) < 2:
        chosen.append(loader.place(file))
    old, new = chosen
    before, after = (_lines(path) for path in chosen)
    for line in difflib.unified_diff(before, after, old, new, lineterm=""):
        say(line)


def _lines(path: str) -> list[str]:
    return [] if path == os.devnull else versions.text_of(path).splitlines()


def _rollback(file: str, numbers: tuple[int, ...]) -> None:
    name, path = _name(file), loader.place(file)
    one = versions.numbered(name, numbers[0])
    ending = os.path.splitext(one.path)[1]
    if os.path.splitext(path)[1] != ending:
        raise click.UsageError(f"configuration {one.number} is a {ending} file, but {path} is not")
    target = service.one(name)
    text = one.text()
    # Before it is written where others may read it: the service's user could have put anything
    # there.
    loader.check(path, text.encode(), run.command.make_context("run", [], resilient_parsing=True))
    with versions.put_back(path, text):
        read(path)
        handover = reload.reloaded(target)
    say(f"{name}: configuration {one.number}: {handover}")


_ACTIONS: dict[str, Callable[[str, tuple[int, ...]], None]] = {
    "check": _check,
    "show": _show,
    "diff": _diff,
    "history": _history,
    "rollback": _rollback,
}
