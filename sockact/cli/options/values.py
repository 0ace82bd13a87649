"""The checks as click's callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sockact.cli.options import checks

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[click.Context, click.Parameter, Any], Any]


def _callback(check: Callable[[str], Any], missing: Any = None) -> Callback:
    """Check the value, or each of several; an option that is not given has the value `missing`."""

    def checked(_context: click.Context, option: click.Parameter, value: Any) -> Any:
        try:
            if value is None:
                return missing
            return tuple(map(check, value)) if isinstance(value, tuple) else check(value)
        except ValueError as error:
            hint = "NAME" if isinstance(option, click.Argument) else None
            raise click.BadParameter(str(error), param_hint=hint) from error

    return checked


check_time = _callback(checks.time)
check_some_time = _callback(checks.some_time)
check_name = _callback(checks.service_name)
check_identifier = _callback(checks.identifier)
check_signal = _callback(checks.catchable_signal)
check_optional_signal = _callback(checks.catchable_signal, 0)
check_log = _callback(checks.log_file, "")
check_watch = _callback(checks.watched_path)
check_pattern = _callback(checks.file_pattern)
