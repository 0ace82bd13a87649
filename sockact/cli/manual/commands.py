"""The click commands as their `--help` describes them."""

from __future__ import annotations

import inspect
import textwrap

import click

from sockact.cli.main import cli


def names() -> list[str]:
    """The commands, in the order of `sockact --help`."""
    return cli.list_commands(click.Context(cli))


def context_of(name: str) -> click.Context:
    """The context in which the help of this command is printed; "" for `sockact` itself."""
    root = click.Context(cli, info_name="sockact", **cli.context_settings)
    command = cli.get_command(root, name)
    return click.Context(command, info_name=name, parent=root) if command else root


def operands(context: click.Context) -> str:
    """The usage, without the command itself."""
    return " ".join(filter(None, context.command.collect_usage_pieces(context)))


def records(context: click.Context) -> list[tuple[str, str]]:
    """The options and their help texts, with the default in brackets."""
    params = context.command.get_params(context)
    found = (one.get_help_record(context) for one in params if isinstance(one, click.Option))
    return [record for record in found if record]


def paragraphs(command: click.Command) -> list[tuple[str, str]]:
    """The description: each text with the code block that it is the title of, if any.

    Such a block is what click must not wrap.
    """
    found = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text, _, block = paragraph.partition("\b\n")
        title, _, code = block.partition("\n")
        found.append((" ".join((text or title).split()), textwrap.dedent(code)))
    return found
