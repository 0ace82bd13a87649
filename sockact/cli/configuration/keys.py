"""The keys of a configuration file: the options of `sockact run`, and three of its own.

The options themselves check their values.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sockact.cli.configuration.document import Document

COMMAND, ENVIRONMENT, RELEASE = "command", "environment", "release"
_OWN = (COMMAND, ENVIRONMENT, RELEASE)
HOOKS = "on"
_NOT_HERE = "config"
_PATHS = ("directory", "log", "log-stderr")
_LONGEST_SHOWN = 60
_LARGEST_NUMBER = 10**15
"""Python refuses to print integers of more than some thousand digits."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"(?:LISTEN_|WATCHDOG_|SOCKACT_)\w*|NOTIFY_SOCKET|FDSTORE")
# Metavar → the values that its options take, for those that take numbers, too.
_NUMBERS_TOO = {
    "TIME": "a time such as 90 or '1min 30s'",
    "SIGNAL": "a signal such as 'SIGINT'",
    "LOW-HIGH": "a status such as 204, or a range such as '200-299'",
}


@dataclass(frozen=True)
class Problem:
    """A mistake, and its line."""

    line: int
    text: str


@dataclass
class Checked:
    """The valid values of a document, and the mistakes in it."""

    options: dict[str, Any] = field(default_factory=dict)
    """Name of the option → its value as on a command line: a string, a list of strings, or True or
    False for a flag.
    """
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    """NAME=VALUE."""
    release: str = ""
    problems: list[Problem] = field(default_factory=list)


class _Wrong(Exception):
    """One value is wrong."""


def check(document: Document, context: click.Context) -> Checked:
    """Check all keys of the document; `context` is that of `sockact run`."""
    known = options(context.command)
    found = Checked()
    for key, value in document.values.items():
        try:
            if key in _OWN:
                _take_own(found, key, value, document)
            elif key == HOOKS:
                found.options[key] = _hooks(known[key], value, document, context, found.problems)
            elif key in known:
                found.options[str(known[key].name)] = _option(known[key], value, context)
            else:
                raise _Wrong(_unknown(str(key), [*_OWN, *known]))
        except _Wrong as wrong:
            found.problems.append(Problem(document.line(str(key)), str(wrong)))
    if COMMAND not in document.values:
        text = 'command is missing; write command = ["PROGRAM", "ARGUMENT"]'
        found.problems.append(Problem(1, text))
    found.problems.sort(key=lambda problem: problem.line)
    return found


def key_of(option: click.Parameter) -> str:
    """The name of the option in a file."""
    return option.opts[0].removeprefix("--")


def options(command: click.Command) -> dict[str, click.Option]:
    """The options that a file can set, by their keys; `command` is `sockact run`."""
    found = (one for one in command.params if isinstance(one, click.Option))
    return {key_of(one): one for one in found if one.name != _NOT_HERE}


def takes_numbers(option: click.Option) -> bool:
    """Whether its value may be a number instead of a string."""
    return option.metavar in _NUMBERS_TOO


def shown(value: object) -> str:
    """A value for a message, shortened."""
    kinds = {bool: repr, int: _number, float: repr, str: _text_shown}
    writer = kinds.get(type(value))
    names = {dict: "a table", list: "a list", type(None): "nothing"}
    return writer(value) if writer else names.get(type(value), f"a {type(value).__name__}")


def _number(value: Any) -> str:
    return repr(value) if abs(value) < _LARGEST_NUMBER else "a number of many digits"


def _text_shown(value: Any) -> str:
    return repr(value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…")


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key[:_LONGEST_SHOWN].replace("_", "-").lower(), known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return f"unknown key {shown(key)}; {hint}"


def _option(option: click.Parameter, value: object, context: click.Context) -> Any:
    key = key_of(option)
    written = _written(key, option, value)
    for path in _paths_in(key, written):
        if not os.path.isabs(path):
            raise _Wrong(_relative(key, path))
    try:
        option.process_value(context, written)
    except click.UsageError as error:
        message = " ".join(error.format_message().split("\n"))
        if isinstance(error, click.BadParameter):
            message = error.message.replace(repr(value), shown(value))
        if not message[:2].isupper():  # Not an acronym, such as SIGKILL.
            message = message[:1].lower() + message[1:]
        raise _Wrong(f"{key}: {message.removesuffix('.')}") from None
    return written


def _paths_in(key: str, written: Any) -> Iterator[str]:
    """The paths in the value of a key."""
    if key in _PATHS:
        yield written
    elif key == "watch":
        yield from written
    elif key == "warm":
        yield from (one.removeprefix("@") for one in written if one.startswith("@"))


def _relative(key: str, path: str) -> str:
    return f"{key}: {shown(path)} is not an absolute path; use one that begins with /"


def _must_be(key: str, wanted: str, value: object, hint: str = "") -> _Wrong:
    return _Wrong(f"{key}: must be {wanted}, not {shown(value)}{hint}")


def _written(key: str, option: click.Parameter, value: object) -> Any:
    """Return the value of a key as the option would have it on the command line."""
    if option.multiple:
        return list(_texts(key, value))
    if isinstance(option, click.Option) and option.is_flag:
        if not isinstance(value, bool):
            raise _must_be(key, "true or false", value)
        return value
    if isinstance(option.type, click.IntRange):
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST_NUMBER:
            low, high = option.type.min, option.type.max
            raise _must_be(key, f"a number from {low} to {high}", value)
        return str(value)
    number_too = _NUMBERS_TOO.get(option.metavar or "")
    if number_too and isinstance(value, int | float) and not isinstance(value, bool):
        return shown(value)
    if isinstance(option.type, click.Choice):
        number_too = f"one of {', '.join(map(str, option.type.choices))}"
    if number_too and not isinstance(value, str):
        raise _must_be(key, number_too, value)
    return _text(key, value)


def _text(key: str, value: object) -> str:
    """A string that the kernel takes as an argument, a path or a variable."""
    if not isinstance(value, str):
        number = type(value) in (int, float) and shown(value)[-1].isdigit()
        hint = f': write "{value}"' if number else ""
        raise _must_be(key, "a string", value, hint)
    if "\0" in value:
        raise _Wrong(f"{key}: {shown(value)} contains a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong(f"{key}: {shown(value)} contains an unpaired surrogate") from None
    return value


def _texts(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, list):
        raise _must_be(key, 'a list of strings such as ["a", "b"]', value)
    for position, one in enumerate(value, 1):
        yield _text(f"{key}, entry {position}", one)


def _hooks(
    option: click.Parameter,
    value: object,
    document: Document,
    context: click.Context,
    problems: list[Problem],
) -> list[str]:
    """The hooks of a table of events, as --on takes them."""
    if not isinstance(value, dict) or not value:
        raise _must_be(HOOKS, "a table of events and their commands", value)
    found: list[str] = []
    for event, commands in value.items():
        try:
            for command in _commands(f"{HOOKS}, {shown(event)}", commands):
                found += _option(option, [f"{event}={command}"], context)
        except _Wrong as wrong:
            problems.append(Problem(document.line(HOOKS, str(event)), str(wrong)))
    checked: list[str] = _option(option, found, context)
    return checked


def _commands(key: str, value: object) -> Iterator[str]:
    """The command lines of a string, of a list of words, or of a list of such lists."""
    if isinstance(value, str):
        yield _text(key, value)
    elif isinstance(value, list) and value and all(isinstance(one, list) for one in value):
        for words in value:
            yield shlex.join(_texts(key, words))
    elif isinstance(value, list) and value:
        yield shlex.join(_texts(key, value))
    else:
        raise _Wrong(f'{key}: must be a command such as "notify up" or ["notify", "up"]')


def _take_own(found: Checked, key: str, value: object, document: Document) -> None:
    if key == COMMAND:
        found.command = tuple(_texts(key, value))
        if not found.command or not found.command[0]:
            raise _Wrong('command is empty; write command = ["PROGRAM", "ARGUMENT"]')
    elif key == RELEASE:
        path = _text(key, value)
        if not os.path.isabs(path):
            raise _Wrong(_relative(key, path))
        if not os.path.isdir(path):
            raise _Wrong(f"{key}: directory {shown(path)} does not exist")
        found.release = os.path.normpath(path)
    else:
        found.environment = tuple(_variables(value, document, found.problems))


def _variables(value: object, document: Document, problems: list[Problem]) -> Iterator[str]:
    if not isinstance(value, dict):
        raise _must_be(ENVIRONMENT, "a table of variables", value)
    for name, one in value.items():
        try:
            yield _variable(name, one)
        except _Wrong as wrong:
            problems.append(Problem(document.line(ENVIRONMENT, str(name)), str(wrong)))


def _variable(name: object, value: object) -> str:
    if not isinstance(name, str) or not name.isascii() or not _VARIABLE.fullmatch(name):
        raise _Wrong(
            f"environment: {shown(name)} is not a variable name; use letters, digits and _"
        )
    if _OURS.fullmatch(name):
        raise _Wrong(f"environment: {name} is set by sockact; leave it out")
    return f"{name}={_text(f'environment, {name}', value)}"
