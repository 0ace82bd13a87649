"""`sockact check`: settings of a service's units that would drop connections."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from sockact.cli.options import complete
from sockact.cli.setup import unlisted
from sockact.cli.starting import run
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, say
from sockact.core.errors import OperatorError
from sockact.core.settings import Adopt, LaneUse, Settings
from sockact.units import facts
from sockact.units.check import all_services
from sockact.units.check.finding import ERROR, WARNING, Finding
from sockact.units.check.rules import check
from sockact.units.manager import Manager

if TYPE_CHECKING:
    from sockact.units.facts import Facts

# systemctl reads * ? and [ as patterns.
_UNIT = re.compile(r"[A-Za-z0-9_.:@\\][A-Za-z0-9_.:@\\-]*")


@click.command(name="check", short_help="Check units for settings that would drop connections.")
@click.argument("unit", metavar="[UNIT|NAME]", required=False, shell_complete=complete.units)
@click.option("--user-unit", is_flag=True, help="Check a unit of `systemctl --user`.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(unit: str | None, user_unit: bool, as_json: bool) -> None:
    """Check a service's units for settings that would drop connections.

    Without a name, the units of all services that sockact runs are checked. Each finding names the
    setting and its remedy. The exit status is 1 if there are errors, and 0 if there are only
    warnings or no findings.

    \b
    Example:
      sockact check myapp
    """
    manager = Manager(user_unit)
    if unit is None:
        sys.exit(_check_all(manager, as_json=as_json))
    if not _UNIT.fullmatch(unit):
        raise click.UsageError(f"{unit!r} is not a unit name; write a name such as myapp.service")
    try:
        found = facts.read(manager, unit)
    except OperatorError as error:
        raise Failure(str(error)) from error
    findings = _findings(found)
    if as_json:
        say(json.dumps(_data(found, findings), indent=2))
    else:
        _show(found, findings)
    sys.exit(1 if _errors(findings) else 0)


def _check_all(manager: Manager, *, as_json: bool) -> int:
    """Check all services of sockact; the exit status. One that cannot be read hides no other."""
    try:
        names = all_services.names(manager)
    except OperatorError as error:
        raise Failure(str(error)) from error
    results = []
    failed = False
    for name in names:
        try:
            found = facts.read(manager, name)
        except OperatorError as error:
            complain(Failure(f"{name}: {error}"))
            failed = True
            continue
        results.append((found, _findings(found)))
        if not as_json:
            _show(*results[-1])
    if as_json:
        say(json.dumps([_data(*one) for one in results], indent=2))
    elif not names:
        say(f"no unit of `{manager.name}` runs `sockact run`")
    return 1 if failed or any(_errors(findings) for _, findings in results) else 0


def _show(found: Facts, findings: list[Finding]) -> None:
    for finding in findings:
        say(str(finding))
    errors = _errors(findings)
    warnings = sum(finding.level is WARNING for finding in findings)
    say(f"{found.service.name}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")


def _errors(findings: list[Finding]) -> int:
    return sum(finding.level is ERROR for finding in findings)


def _findings(found: Facts) -> list[Finding]:
    return [*examine(found), *unlisted.find(found.service.name, _name(found))]


def examine(found: Facts) -> list[Finding]:
    """All findings, including invalid options of `sockact run`."""
    try:
        settings = _settings(found)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        wrong = Finding(ERROR, found.service.name, "ExecStart=", message, "fix the options")
        return [wrong, *check(found, None)]
    return check(found, settings)


def _name(found: Facts) -> str:
    """The name of the service, as far as its options are valid."""
    try:
        settings = _settings(found)
    except click.ClickException:
        settings = None
    return settings.name if settings else found.service.name.removesuffix(".service")


def _settings(found: Facts) -> Settings | None:
    """The settings of `sockact run`; None if the service does not run it.

    Raises UsageError and Invalid.
    """
    if found.options is None:
        return None
    words = _without_directory(found.options)
    with run.command.make_context("sockact run", words) as context:
        values = dict(context.params)
        del values["directory"]
        config = values.pop("config")
        program = config.checked.command if config else tuple(values.pop("program"))
        values.pop("program", None)
        name = values.pop("name") or (run.name_of(program) if program else "NAME")
        adopt, lanes = Adopt(values.pop("adopt")), LaneUse(values.pop("lanes"))
        return Settings(name, program, adopt=adopt, lanes=lanes, **values)


def _without_directory(options: tuple[str, ...]) -> list[str]:
    """The options without --directory, which may not exist for us or may contain specifiers."""
    end = options.index("--") if "--" in options else len(options)
    words = list(options[:end])
    for position, word in enumerate(words):
        if word.partition("=")[0] == "--directory":
            del words[position : position + (1 if "=" in word else 2)]
            break
    return [*words, *options[end:]]


def _data(found: Facts, findings: list[Finding]) -> dict[str, object]:
    return {
        "service": found.service.name,
        "sockets": [socket.name for socket in found.sockets],
        "systemd": found.version,
        "findings": [asdict(finding) for finding in findings],
    }


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
