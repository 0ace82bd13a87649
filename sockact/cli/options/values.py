"""Values of options that click's own types do not cover: times, names, signals, paths."""

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
    """A callback: a time span in seconds, short enough for the supervisor to wait for."""
    if value is None:
        return None
    try:
        span = float("inf") if value.strip() == "infinity" else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if span > LONGEST:
        raise click.BadParameter(f"{value!r} is too long; the maximum is 7d")
    return span


def check_some_time(
    context: click.Context, option: click.Parameter, value: str | None
) -> float | None:
    """A callback: a time span that is not zero."""
    span = check_time(context, option, value)
    if span == 0:
        raise click.BadParameter(f"{value!r} is too short; use a time greater than 0")
    return span


def check_name(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A callback: the name of a service."""
    if value is not None and not paths.valid_name(value):
        raise click.BadParameter(
            f"{value!r} is not a valid service name; use up to {paths.NAME_LIMIT} characters of "
            f"A-Z a-z 0-9 : _ . @ - that do not start with a dot or a dash",
            param_hint="NAME" if isinstance(option, click.Argument) else None,
        )
    return value


def check_identifier(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A callback: a journal identifier, to which `-GENERATION` is appended."""
    valid = value.isascii() and value.isprintable() and not {*value} & {*" /:"}
    if not valid or len(value) > _LONGEST_IDENTIFIER:
        raise click.BadParameter(
            f"{value!r} is not a valid identifier; use up to {_LONGEST_IDENTIFIER} printable ASCII "
            f"characters without spaces, colons and slashes"
        )
    return value


def check_signal(_context: click.Context, _option: click.Parameter, value: str) -> int:
    """A callback: a signal that a program can catch, by name or number."""
    name = value.upper()
    try:
        if name.isdigit():
            found = signal.Signals(int(name))
        else:
            found = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise click.BadParameter(f"{value!r} is not a signal; use a name such as SIGINT") from None
    if found in (signal.SIGKILL, signal.SIGSTOP):
        raise click.BadParameter(f"{found.name} cannot be caught; use SIGINT, for example")
    return int(found)


def check_log(_context: click.Context, _option: click.Parameter, value: str | None) -> str:
    """A callback: the absolute path of a log file, symbolic links unresolved; empty for none."""
    if value is None:
        return ""
    path = os.path.abspath(value)
    if not value:
        raise click.BadParameter("'' is not a path; use the path of a file")
    if value.endswith("/") or os.path.isdir(path):
        raise click.BadParameter(f"{value!r} is a directory; use the path of a file")
    if not path.isprintable():
        raise click.BadParameter(f"{value!r} contains unprintable characters")
    if value == "-" or path in _OUTPUTS or path.startswith(("/dev/fd/", "/proc/")):
        raise click.BadParameter(
            f"{value} is not a log file; leave the option out to keep sockact's own output"
        )
    return path


def check_optional_signal(
    context: click.Context, option: click.Parameter, value: str | None
) -> int:
    """A callback: as check_signal; 0 for none."""
    return 0 if value is None else check_signal(context, option, value)


def check_watch(
    _context: click.Context, _option: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """A callback: paths to watch, made absolute; they need not exist."""
    for path in value:
        if "\0" in path or not path:
            raise click.BadParameter(f"{path!r} is not a path")
    found = tuple(os.path.join(logical(None), path) for path in value)
    for path in found:
        if os.path.normpath(path).strip("/") == "":
            raise click.BadParameter(
                f"{path!r} is too much to watch; name a directory of the program"
            )
    return found


def check_pattern(
    _context: click.Context, _option: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """A callback: names of files and directories, with * as a wildcard."""
    for name in value:
        if not name.strip("*") or "/" in name:
            raise click.BadParameter(f"{name!r} is not a file name; use a name such as '*.cache'")
    return value


def logical(directory: str | None) -> str:
    """The absolute path, symbolic links unresolved: each reload follows a release link anew."""
    here = os.environ.get("PWD", "")
    try:
        if not os.path.isabs(here) or not os.path.samefile(here, "."):
            here = os.getcwd()
    except OSError:
        here = os.getcwd()
    return os.path.normpath(os.path.join(here, directory)) if directory else here
