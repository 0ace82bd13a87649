"""The keys of a configuration file: the options of `sockact run`, and what only a file has.

What an option takes is asked of the option itself, so that it is written in one place.
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
"""Python refuses to write down a number of more than some thousand digits."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"(?:LISTEN_|WATCHDOG_|SOCKACT_)\w*|NOTIFY_SOCKET|FDSTORE")
# What an option of this metavar takes, in words, where a number will do as well as a text.
_NUMBERS_TOO = {
    "TIME": "a time such as 90 or '1min 30s'",
    "SIGNAL": "a signal such as 'SIGINT'",
    "LOW-HIGH": "a status such as 204, or a range such as '200-299'",
}


@dataclass(frozen=True)
class Problem:
    """What is wrong, and on which line."""

    line: int
    text: str


@dataclass
class Checked:
    """What a document says, as far as it is right."""

    options: dict[str, Any] = field(default_factory=dict)
    """Name of the option → its value as on a command line: a text, or a list of texts."""
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    """NAME=VALUE."""
    release: str = ""
    problems: list[Problem] = field(default_factory=list)


class _Wrong(Exception):
    """One value is."""


def check(document: Document, context: click.Context) -> Checked:
    """Everything that is wrong with the document; `context` is of `sockact run`."""
    options = {key_of(one): one for one in context.command.params if _is_for_files(one)}
    found = Checked()
    for key, value in document.values.items():
        try:
            if key in _OWN:
                _take_own(found, key, value, document)
            elif key == HOOKS:
                found.options[key] = _hooks(options[key], value, document, context, found.problems)
            elif key in options:
                found.options[str(options[key].name)] = _option(options[key], value, context)
            else:
                raise _Wrong(_unknown(str(key), [*_OWN, *options]))
        except _Wrong as wrong:
            found.problems.append(Problem(document.line(str(key)), str(wrong)))
    if COMMAND not in document.values:
        text = 'command is missing: write command = ["PROGRAM", "ARGUMENT"]'
        found.problems.append(Problem(1, text))
    found.problems.sort(key=lambda problem: problem.line)
    return found


def key_of(option: click.Parameter) -> str:
    """How the option is called in a file."""
    return option.opts[0].removeprefix("--")


def _is_for_files(option: click.Parameter) -> bool:
    return isinstance(option, click.Option) and option.name != _NOT_HERE


def shown(value: object) -> str:
    """A value for a message; never a long one."""
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
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    return f"{shown(key)} is not known: {hint}"


def _option(option: click.Parameter, value: object, context: click.Context) -> Any:
    key = key_of(option)
    written = _written(key, option, value)
    for path in written if key == "watch" else [written] * (key in _PATHS):
        if not os.path.isabs(path):
            raise _Wrong(_relative(key, path))
    try:
        option.process_value(context, written)
    except click.UsageError as error:
        message = " ".join(error.format_message().split("\n"))
        if isinstance(error, click.BadParameter):
            message = error.message.replace(repr(value), shown(value))
        if not message[:2].isupper():  # As in SIGKILL.
            message = message[:1].lower() + message[1:]
        raise _Wrong(f"{key}: {message.removesuffix('.')}") from None
    return written


def _relative(key: str, path: str) -> str:
    return f"{key}: {shown(path)} is not absolute: write a path that begins with /"


def _written(key: str, option: click.Parameter, value: object) -> Any:
    """As it would be on the command line."""
    if option.multiple:
        return list(_texts(key, value))
    if isinstance(option.type, click.IntRange):
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= _LARGEST_NUMBER:
            low, high = option.type.min, option.type.max
            raise _Wrong(f"{key}: a number from {low} to {high} is needed, not {shown(value)}")
        return str(value)
    number_too = _NUMBERS_TOO.get(option.metavar or "")
    if number_too and isinstance(value, int | float) and not isinstance(value, bool):
        return shown(value)
    if isinstance(value, str):
        return _text(key, value)
    wanted = number_too or "a text"
    if isinstance(option.type, click.Choice):
        wanted = f"one of {', '.join(map(str, option.type.choices))}"
    raise _Wrong(f"{key}: {wanted} is needed, not {shown(value)}")


def _text(key: str, value: object) -> str:
    """A text that the kernel takes as an argument, a path or a variable."""
    if not isinstance(value, str):
        raise _Wrong(f"{key}: a text is needed, not {shown(value)}")
    if "\0" in value:
        raise _Wrong(f"{key}: {shown(value)} has a NUL in it, which no program can be given")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong(f"{key}: {shown(value)} has half a character in it") from None
    return value


def _texts(key: str, value: object) -> Iterator[str]:
    if not isinstance(value, list):
        raise _Wrong(f'{key}: a list of texts such as ["a", "b"] is needed, not {shown(value)}')
    for position, one in enumerate(value, 1):
        yield _text(f"{key}, entry {position}", one)


def _hooks(
    option: click.Parameter,
    value: object,
    document: Document,
    context: click.Context,
    problems: list[Problem],
) -> list[str]:
    """A table of events, as `--on` has them."""
    if not isinstance(value, dict) or not value:
        raise _Wrong(f"{HOOKS}: a table of events and their commands is needed, not {shown(value)}")
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
    """Command lines of a text, of a list of words, or of a list of such lists."""
    if isinstance(value, str):
        yield _text(key, value)
    elif isinstance(value, list) and value and all(isinstance(one, list) for one in value):
        for words in value:
            yield shlex.join(_texts(key, words))
    elif isinstance(value, list) and value:
        yield shlex.join(_texts(key, value))
    else:
        raise _Wrong(f'{key}: a command such as "notify up" or ["notify", "up"] is needed')


def _take_own(found: Checked, key: str, value: object, document: Document) -> None:
    if key == COMMAND:
        found.command = tuple(_texts(key, value))
        if not found.command or not found.command[0]:
            raise _Wrong('command: it is empty: write command = ["PROGRAM", "ARGUMENT"]')
    elif key == RELEASE:
        path = _text(key, value)
        if not os.path.isabs(path):
            raise _Wrong(_relative(key, path))
        if not os.path.isdir(path):
            raise _Wrong(f"{key}: there is no directory {shown(path)}")
        found.release = os.path.normpath(path)
    else:
        found.environment = tuple(_variables(value, document, found.problems))


def _variables(value: object, document: Document, problems: list[Problem]) -> Iterator[str]:
    if not isinstance(value, dict):
        raise _Wrong(f"environment: a table of variables is needed, not {shown(value)}")
    for name, one in value.items():
        try:
            yield _variable(name, one)
        except _Wrong as wrong:
            problems.append(Problem(document.line(ENVIRONMENT, str(name)), str(wrong)))


def _variable(name: object, value: object) -> str:
    if not isinstance(name, str) or not name.isascii() or not _VARIABLE.fullmatch(name):
        raise _Wrong(f"environment: {shown(name)} cannot be a variable: use letters, digits and _")
    if _OURS.fullmatch(name):
        raise _Wrong(f"environment: {name} is sockact's to set: leave it out")
    return f"{name}={_text(f'environment, {name}', value)}"
