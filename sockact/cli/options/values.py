"""The checks as click's callbacks, and options that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sockact.cli.options import checks
from sockact.core.canary import schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[click.Context, click.Parameter, Any], Any]
    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _callback(check: Callable[[str], Any], missing: Any = None) -> Callback:
    """Check the value, or each of several; an option that is not given has the value `missing`."""

    def checked(_context: click.Context, option: click.Parameter, value: Any) -> Any:
        try:
            if value is None:
                return missing
            return tuple(map(check, value)) if isinstance(value, tuple) else check(value)
        except ValueError as error:
            hint = option.metavar if isinstance(option, click.Argument) else None
            raise click.BadParameter(str(error), param_hint=hint) from error

    return checked


check_time = _callback(checks.time)
check_some_time = _callback(checks.some_time)
check_pause = _callback(checks.pause)
check_name = _callback(checks.service_name)
check_identifier = _callback(checks.identifier)
check_signal = _callback(checks.catchable_signal)
check_optional_signal = _callback(checks.catchable_signal, 0)
check_share = _callback(schedule.parse_share)
check_canary = _callback(checks.canary)
check_judge = _callback(checks.judge)
check_log = _callback(checks.log_file, "")
check_watch = _callback(checks.watched_path)
check_pattern = _callback(checks.file_pattern)


def group(*options: Decorator) -> Decorator:
    """All of these options, in their order in the help."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def directory_option(default: str) -> Decorator:
    """--directory; `default` is what the help says of it."""
    return click.option(
        "--directory",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False),
        help="Working directory of PROGRAM; a symbolic link is resolved again at each reload.  "
        f"[default: {default}]",
    )
