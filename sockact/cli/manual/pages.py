"""From the click commands, and the texts beside them, to man pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import sockact
from sockact.cli.main import cli
from sockact.cli.manual import markup, roff, texts, unit
from sockact.cli.manual.roff import Items, Page, Section

if TYPE_CHECKING:
    from sockact.cli.manual.roff import Block

_OTHERS = ("sockact.unit(7)", "systemctl(1)", "systemd.service(5)", "systemd.socket(5)")


def files(date: str) -> dict[str, str]:
    """Path → text. `date` may be empty."""
    found = [main_page(), *(command_page(name) for name in names()), unit.page()]
    return {
        f"man{page.number}/{page.name}.{page.number}": roff.render(page, sockact.__version__, date)
        for page in found
    }


def names() -> list[str]:
    """The commands, in the order of `sockact --help`."""
    return cli.list_commands(click.Context(cli))


def main_page() -> Page:
    """sockact(1)."""
    context = _root()
    headline, *description = _paragraphs(cli)
    commands = Items(tuple((f"`{name}`", _find(name).short_help or "") for name in names()))
    see = "Each command has a page of its own, such as sockact-run(1)."
    sections = (
        Section("DESCRIPTION", (*description, *markup.blocks(texts.MAIN.more))),
        Section("COMMANDS", (see, commands)),
        Section("OPTIONS", (_options(context),)),
        *markup.sections(texts.MAIN.sections),
        _see_also([f"sockact-{name}(1)" for name in names()], ""),
    )
    return Page("sockact", 1, _as_purpose(headline), sections, _usage(context))


def command_page(name: str) -> Page:
    """sockact-NAME(1)."""
    command, extra = _find(name), texts.COMMANDS[name]
    context = click.Context(command, info_name=name, parent=_root())
    others = [f"sockact-{other}(1)" for other in extra.related]
    sections = (
        Section("DESCRIPTION", (*_paragraphs(command), *markup.blocks(extra.more))),
        Section("OPTIONS", (_options(context),)),
        *markup.sections(extra.sections),
        _see_also(["sockact(1)", *others], f"sockact-{name}(1)"),
    )
    purpose = _as_purpose(command.short_help or "")
    return Page(f"sockact-{name}", 1, purpose, sections, _usage(context))


def _root() -> click.Context:
    return click.Context(cli, info_name="sockact", **cli.context_settings)


def _find(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None, name
    return command


def _paragraphs(command: click.Command) -> list[Block]:
    found = (" ".join(text.split()) for text in (command.help or "").split("\n\n"))
    # What click prints as it is are examples, of which the page has its own.
    return [text for text in found if not text.startswith("\b")]


def _options(context: click.Context) -> Items:
    """As `--help` lists them."""
    records = (option.get_help_record(context) for option in context.command.get_params(context))
    return Items(tuple((term, text) for term, text in filter(None, records)))


def _usage(context: click.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return " ".join([context.command_path, *filter(None, pieces)])


def _as_purpose(text: Block) -> str:
    assert isinstance(text, str)
    return f"{text[:1].lower()}{text[1:]}".removesuffix(".")


def _see_also(first: list[str], own: str) -> Section:
    pages = [page for page in (*first, *_OTHERS) if page != own]
    return Section("SEE ALSO", (", ".join(dict.fromkeys(pages)),))
