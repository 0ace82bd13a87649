"""Values of options that need more than click's own types."""

from __future__ import annotations

import os
import signal

import click

from sockact.core.timespan import LONGEST, seconds
from sockact.supervisor.control import paths

_LONGEST_IDENTIFIER = 64
_OUTPUTS = ("/dev/stdout", "/dev/stderr")


def check_time(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> float | None:
    """An option's callback: a time span that the supervisor can wait for."""
    if value is None:
        return None
    try:
        span = float("inf") if value.strip() == "infinity" else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if span > LONGEST:
        raise click.BadParameter(f"{value!r} is too long: write at most 7d")
    return span


def check_some_time(
    context: click.Context, option: click.Parameter, value: str | None
) -> float | None:
    """The same, where zero makes no sense."""
    span = check_time(context, option, value)
    if span == 0:
        raise click.BadParameter(f"{value!r} leaves no time: write more than 0")
    return span


def check_name(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A callback: the name of a service."""
    if value is not None and not paths.valid_name(value):
        raise click.BadParameter(
            f"{value!r} cannot name a service: use at most {paths.NAME_LIMIT} of "
            f"A-Z a-z 0-9 : _ . @ - without a dot or a dash in front",
            param_hint="NAME" if isinstance(option, click.Argument) else None,
        )
    return value


def check_identifier(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A callback: an identifier of the journal, to which `-NUMBER` is going to be added."""
    valid = value.isascii() and value.isprintable() and not {*value} & {*" /:"}
    if not valid or len(value) > _LONGEST_IDENTIFIER:
        raise click.BadParameter(
            f"{value!r} is no identifier: use at most {_LONGEST_IDENTIFIER} of ASCII's letters, "
            f"digits and marks, without blanks, colons and slashes"
        )
    return value


def check_signal(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """A callback: a signal that a program may handle, by its name or number."""
    name = value.upper()
    try:
        if name.isdigit():
            found = signal.Signals(int(name))
        else:
            found = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise click.BadParameter(f"{value!r} is no signal: write it like SIGINT") from None
    if found in (signal.SIGKILL, signal.SIGSTOP):
        raise click.BadParameter(f"{found.name} cannot be handled: write one like SIGINT")
    return int(found)


def check_log(_context: click.Context, _option: click.Parameter, value: str | None) -> str:
    """A callback: the absolute path of a file to append to, with its symbolic links; or empty."""
    if value is None:
        return ""
    path = os.path.abspath(value)
    if not value:
        raise click.BadParameter("'' is no path: write that of a file")
    if value.endswith("/") or os.path.isdir(path):
        raise click.BadParameter(f"{value!r} is a directory: write the whole path of a file")
    if not path.isprintable():
        raise click.BadParameter(f"{value!r} has characters that no log file should have")
    if value == "-" or path in _OUTPUTS or path.startswith(("/dev/fd/", "/proc/")):
        raise click.BadParameter(f"{value}: programs write there by themselves: leave it out")
    return path


def check_optional_signal(
    context: click.Context, option: click.Parameter, value: str | None
) -> int:
    """The same; 0 for none."""
    return 0 if value is None else check_signal(context, option, value)


def check_watch(
    _context: click.Context, _option: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """A callback: paths to watch, absolute from now on; they need not be there."""
    for path in value:
        if "\0" in path or not path:
            raise click.BadParameter(f"{path!r} is no path")
    found = tuple(os.path.join(logical(None), path) for path in value)
    for path in found:
        if os.path.normpath(path).strip("/") == "":
            raise click.BadParameter(f"{path!r} is everything: name what the program reads")
    return found


def check_pattern(
    _context: click.Context, _option: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """A callback: names of files and directories, with *."""
    for name in value:
        if not name.strip("*") or "/" in name:
            raise click.BadParameter(f"{name!r} is no name of a file: write one like '*.cache'")
    return value


def logical(directory: str | None) -> str:
    """An absolute path that keeps its symbolic links: a release link is followed at each reload."""
    here = os.environ.get("PWD", "")
    try:
        if not os.path.isabs(here) or not os.path.samefile(here, "."):
            here = os.getcwd()
    except OSError:
        here = os.getcwd()
    return os.path.normpath(os.path.join(here, directory)) if directory else here
