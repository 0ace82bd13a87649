"""The options of canaries, of `sockact run` and of `sockact reload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sockact.cli.options.values import check_canary, check_judge, check_some_time, group
from sockact.core.canary import judges
from sockact.core.canary.progress import BY, UNSURE
from sockact.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sockact.cli.options.values import Decorator

_STEPS = "Give {} a growing share of the clients, as in '1% 1min, 10% 5min'."
_AS_CONFIGURED = "  [default: as configured]"


def _check_judges(context: click.Context, option: click.Parameter, value: Any) -> Any:
    if len(value) > judges.MOST:
        raise click.BadParameter(f"{len(value)} are too many; use at most {judges.MOST}")
    return check_judge(context, option, value)


def _options(steps: str, given: Callable[[str], dict[str, Any]], more: str) -> Decorator:
    """The options; `given` are further arguments of each, by its setting, `more` ends its help."""
    return group(
        click.option(
            "--canary",
            metavar="STEPS",
            default="",
            callback=check_canary,
            help=_STEPS.format(steps),
        ),
        click.option(
            "--canary-by",
            type=click.Choice(BY),
            help=f"Split the load by connection, or by client address.{more}",
            **given("canary_by"),
        ),
        click.option(
            "--canary-timeout",
            metavar="TIME",
            callback=check_some_time,
            help="Maximum time to wait at the end of a canary step for enough data to judge it."
            f"{more}",
            **given("canary_timeout"),
        ),
        click.option(
            "--unsure",
            type=click.Choice(UNSURE),
            help="Action at the end of a canary step without enough data to judge it; wait ends "
            f"in a rollback after --canary-timeout.{more}",
            **given("unsure"),
        ),
        click.option(
            "--judge",
            metavar="JUDGE",
            multiple=True,
            callback=_check_judges,
            help="Also ask JUDGE about a canary: 'promql:URL QUERY < LIMIT' or exec:COMMAND. May "
            f"be repeated.{more}",
        ),
    )


def _default(setting: str) -> dict[str, Any]:
    value = getattr(Settings, setting)
    shown = f"{value / 60:g}min" if isinstance(value, float) else value
    return {"default": shown, "show_default": True}


of_run = _options("each new generation", _default, "")
of_reload = _options("the new generation", lambda _setting: {}, _AS_CONFIGURED)


def wanted(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that options of `sockact reload` give. Raises UsageError without steps."""
    given = {name: value for name, value in options.items() if value}
    if given and "canary" not in given:
        option = f"--{min(given).replace('_', '-')}"
        raise click.UsageError(f"{option} needs --canary, the steps")
    return given
