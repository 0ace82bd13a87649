"""The options of `sockact run` for the trial and for health checks."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from sockact.cli.options.values import check_some_time, check_time, group
from sockact.core.settings import Settings

if TYPE_CHECKING:
    from typing import Any

_STATUS = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?")


def check_ready(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The callback of --ready."""
    if value in ("interest", "notify") or _is_request_or_command(value):
        return value
    raise click.BadParameter(
        f"{value!r} is not a readiness check; use interest, notify, http://ADDRESS/PATH "
        f"or exec:COMMAND"
    )


def check_probe(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The callback of --probe."""
    if value in ("", "tcp") or _is_request_or_command(value):
        return value
    raise click.BadParameter(
        f"{value!r} is not a probe; use http://ADDRESS/PATH, exec:COMMAND or tcp"
    )


def check_watchdog_probe(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The callback of --watchdog-probe."""
    if not value or _is_request_or_command(value):
        return value
    raise click.BadParameter(f"{value!r} is not a probe; use http://ADDRESS/PATH or exec:COMMAND")


def _is_request_or_command(value: str) -> bool:
    kind, _, rest = value.partition(":")
    if kind == "http":
        check_url(value)
        return True
    if kind == "exec":
        try:
            return bool(shlex.split(rest))
        except ValueError as error:
            raise click.BadParameter(f"cannot split the command {rest!r}: {error}") from error
    return False


def check_url(value: str) -> None:
    """Raises BadParameter if this is not an http:// URL that can be requested."""
    from urllib.parse import urlsplit  # slow to import, and seldom needed

    try:
        parts = urlsplit(value)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter(
            f"{value!r} is not a valid URL; use one such as http://localhost/health"
        )
    if parts.username is not None:
        raise click.BadParameter(
            f"{value!r} names a user, which probes do not send; use exec:COMMAND"
        )
    if not re.fullmatch("[!-~]+", value):
        raise click.BadParameter(
            f"{value!r} contains characters that a URL cannot have; percent-encode them (a space "
            f"is %20)"
        )


def _check_status(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(value)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if low > high:
        raise click.BadParameter(
            f"{value!r} is not a range of HTTP statuses; use 200-299 or 204, for example"
        )
    return low, high


trial_options = group(
    click.option(
        "--trial",
        metavar="TIME",
        default="0",
        show_default=True,
        callback=check_time,
        help="Length of the trial, in which a new generation serves before the previous one "
        "drains; if the new generation fails, sockact rolls back. 0 disables the trial.",
    ),
    click.option(
        "--probe",
        metavar="KIND",
        default=Settings.probe,
        callback=check_probe,
        help="Health check to run during the trial: http://ADDRESS/PATH, exec:COMMAND or tcp.",
    ),
    click.option(
        "--probe-interval",
        metavar="TIME",
        default=f"{Settings.probe_interval:g}s",
        show_default=True,
        callback=check_some_time,
        help="Time between two probes.",
    ),
    click.option(
        "--probe-timeout",
        metavar="TIME",
        default=f"{Settings.probe_timeout:g}s",
        show_default=True,
        callback=check_some_time,
        help="Time limit of a probe; a probe that takes longer has failed.",
    ),
    click.option(
        "--probe-threshold",
        metavar="NUMBER",
        type=click.IntRange(1, 999),
        default=Settings.probe_threshold,
        show_default=True,
        help="Number of consecutive failed probes after which the trial fails.",
    ),
    click.option(
        "--probe-status",
        metavar="LOW-HIGH",
        default="{}-{}".format(*Settings.probe_status),
        show_default=True,
        callback=_check_status,
        help="HTTP statuses that count as success (http:// probes).",
    ),
    click.option(
        "--probe-body",
        metavar="TEXT",
        default=Settings.probe_body,
        help="Text that the response body must contain (http:// probes).",
    ),
    click.option(
        "--watchdog-probe",
        metavar="KIND",
        default=Settings.watchdog_probe,
        callback=check_watchdog_probe,
        help="Health check for systemd's watchdog: http://ADDRESS/PATH or exec:COMMAND.",
    ),
    click.option(
        "--keep-predecessor",
        metavar="TIME",
        default="0",
        show_default=True,
        callback=check_time,
        help="Time to keep the previous generation for `sockact rollback`.",
    ),
)


def check_together(options: dict[str, Any]) -> None:
    """Raises UsageError for an option that would have no effect."""
    http = options["probe"].startswith("http:")
    if options["probe"] and not options["trial"]:
        raise click.UsageError("--probe needs a trial; add --trial TIME")
    for option in ("probe_interval", "probe_timeout", "probe_threshold"):
        if options[option] != getattr(Settings, option) and not options["probe"]:
            raise click.UsageError(f"--{option.replace('_', '-')} needs --probe KIND")
    if options["probe_body"] and not http:
        raise click.UsageError("--probe-body needs --probe http://…")
    if options["probe_status"] != Settings.probe_status and not http:
        raise click.UsageError("--probe-status needs --probe http://…")
