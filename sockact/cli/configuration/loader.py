"""From a configuration file to the options of `sockact run`, or to a list of all mistakes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sockact.cli.configuration import keys
from sockact.cli.configuration.document import EXTENSIONS, Document, Unreadable, contents, parse
from sockact.cli.configuration.keys import Problem
from sockact.supervisor.control import paths

if TYPE_CHECKING:
    from sockact.cli.configuration.keys import Checked

FOLDER = "/etc/sockact"
_MOST_SHOWN = 20
_LONGEST = 400
_OPTION = re.compile(r"--([a-z][a-z-]*)")


class Invalid(click.ClickException):
    """The file is invalid: the first problem, with the others quoted below. Nothing was done."""

    exit_code = 2

    def __init__(self, path: str, problems: list[Problem]) -> None:
        lines = [_line(path, problem) for problem in problems]
        first, *others = lines
        super().__init__(first + (f" (and {len(others)} more)" if others else ""))
        self.quoted = tuple(others[:_MOST_SHOWN])


@dataclass(frozen=True)
class Loaded:
    """A file whose keys are valid, each by itself."""

    path: str
    document: Document
    checked: Checked

    def refuse(self, error: click.UsageError) -> Invalid:
        """The error of options that contradict each other, with the line in the file."""
        named = _OPTION.search(error.message)
        line = self.document.line(named[1]) if named else 1
        return Invalid(self.path, [Problem(line, _OPTION.sub(r"\1", error.message))])


def place(wanted: str) -> str:
    """The path of the file, given a path or the name of a service.

    Raises UsageError if the service has several files.
    """
    if "/" in wanted or os.path.splitext(wanted)[1] in EXTENSIONS:
        return os.path.abspath(wanted)
    folder = os.path.abspath(os.environ.get("SOCKACT_CONFIG_DIR") or FOLDER)
    there = [path for path in _of_name(folder, wanted) if os.path.lexists(path)]
    if len(there) > 1:
        raise click.UsageError(f"both {there[0]} and {there[1]} exist; remove one of them")
    return there[0] if there else _of_name(folder, wanted)[0]


def _of_name(folder: str, name: str) -> list[str]:
    return [os.path.join(folder, name + extension) for extension in EXTENSIONS]


def load(wanted: str, context: click.Context) -> Loaded:
    """The file, checked; `context` is that of `sockact run`. Raises Invalid, UsageError."""
    path = place(wanted)
    try:
        data = contents(path)
    except Unreadable as error:
        raise Invalid(path, [Problem(error.line, str(error))]) from None
    document, checked = check(path, data, context)
    name = os.path.splitext(os.path.basename(path))[0]
    if paths.valid_name(name):
        checked.options.setdefault("name", name)
    return Loaded(path, document, checked)


def check(path: str, data: bytes, context: click.Context) -> tuple[Document, Checked]:
    """These contents of the file, whether or not they are there. Raises Invalid."""
    try:
        document = parse(data, os.path.splitext(path)[1])
    except Unreadable as error:
        raise Invalid(path, [Problem(error.line, str(error))]) from None
    checked = keys.check(document, context)
    if checked.problems:
        raise Invalid(path, checked.problems)
    return document, checked


def take(context: click.Context, wanted: str) -> Loaded:
    """The callback of --config: the file's values become the defaults of the options."""
    loaded = load(wanted, context)
    context.default_map = loaded.checked.options
    return loaded


def _line(path: str, problem: Problem) -> str:
    where = f"{path}:{problem.line}" if problem.line else path
    text = " ".join(problem.text.split())
    return f"{where}: {text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'}"
