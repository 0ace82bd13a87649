"""docs/options.md: all commands, their options, and the keys of a configuration file.

python3 -m sockact.cli.manual.reference FILE
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

import click

from sockact.cli.configuration import keys
from sockact.cli.manual import commands

_HEAD = """\
# Commands, options and configuration keys

Written by `make docs` from the commands themselves; `--help` of each command prints the same.
"""
_KEYS = """
## Configuration file

The keys of the file that `--config` names ([configuration.md](configuration.md)). An option has the
same meaning and default as in `sockact run`.
"""
_OWN_KEYS = {
    keys.COMMAND: ("list of strings", "the program and its arguments; required"),
    keys.ENVIRONMENT: ("table of strings", "environment variables for the program"),
    keys.RELEASE: ("string", "symbolic link to the current release; default of `directory`"),
}
_HOOKS = {keys.HOOKS: ("table", "commands by event; see `--on`")}
_SHARED = "run"
"""The command whose options others take, too."""
# The end of a help text, as click writes it.
_BRACKETS = re.compile(r"\s*\[([^]]*)\]$")
_RANGE = re.compile(r"(\d+)<=x<=(\d+)")

Row = tuple[str, str, str]


def text() -> str:
    """The document."""
    parts = (_HEAD, *map(_command, ("", *commands.names())), _KEYS, _table("key", "value", _keys()))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _command(name: str) -> str:
    context = commands.context_of(name)
    blocks = [f"## {context.command_path}"]
    if name:
        blocks.append(f"    {context.command_path} {commands.operands(context)}")
    for words, code in commands.paragraphs(context.command):
        blocks += [textwrap.fill(words, 100), f"```\n{code.rstrip()}\n```" if code else ""]
    for one in context.command.params:
        if one.envvar:
            blocks.append(f"The default of `{one.human_readable_name}` is `${one.envvar}`.")
    records = _records(context)
    shared = _records(commands.context_of(_SHARED)) if name != _SHARED else {}
    own = {term: text for term, text in records.items() if shared.get(term) != text}
    blocks.append(_table("option", "default", [_row(*record) for record in own.items()]))
    if len(own) < len(records):
        others = ", ".join(f"`{term.split()[0]}`" for term in shared if term not in records)
        blocks.append(f"The other options are those of `sockact {_SHARED}`, without {others}.")
    return "\n\n".join(filter(None, blocks))


def _records(context: click.Context) -> dict[str, str]:
    """Without --help."""
    return {term: text for term, text in commands.records(context) if not term.startswith("-h")}


def _row(term: str, text: str) -> Row:
    brackets = _BRACKETS.search(text)
    default, _, limits = brackets[1].partition("; ") if brackets else ("", "", "")
    meaning = (_BRACKETS.sub("", text), _RANGE.sub(r"From \1 to \2.", limits))
    return f"`{term}`", default.removeprefix("default: "), " ".join(meaning).strip()


def _keys() -> list[Row]:
    options = keys.options(commands.context_of(_SHARED).command)
    found = {key: (_value(option), f"see `--{key}`") for key, option in options.items()}
    return [(f"`{key}`", *row) for key, row in {**_OWN_KEYS, **found, **_HOOKS}.items()]


def _value(option: click.Option) -> str:
    if option.multiple:
        return "list of strings"
    if option.is_flag:
        return "true or false"
    if isinstance(option.type, click.IntRange):
        return f"number from {option.type.min} to {option.type.max}"
    if isinstance(option.type, click.Choice):
        return f"one of {', '.join(option.type.choices)}"
    return "string or number" if keys.takes_numbers(option) else "string"


def _table(first: str, second: str, rows: list[Row]) -> str:
    """Return a table in Markdown, with columns as wide as their widest cell."""
    if not rows:
        return ""
    cells = [(first, second, ""), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in cells
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
