"""The pages of the manual: what `--help` prints, and the texts beside it."""

from __future__ import annotations

import re
import textwrap

from sockact.cli.manual import commands, texts, unit
from sockact.cli.manual.manpage import Page, roff

_OTHERS = ("sockact.unit(7)", "systemctl(1)", "systemd.service(5)", "systemd.socket(5)")


def files(date: str) -> dict[str, str]:
    """Path → man page. `date` may be empty."""
    found = [*map(_page, ("", *commands.names())), unit.page()]
    return {f"man{page.number}/{page.name}.{page.number}": roff(page, date) for page in found}


def _page(name: str) -> Page:
    context = commands.context_of(name)
    command, extra = context.command, texts.COMMANDS[name] if name else texts.MAIN
    paragraphs = commands.paragraphs(command)
    purpose = command.short_help or paragraphs.pop(0)[0]
    examples = [code for title, code in paragraphs if code and title.startswith("Example")]
    description = [
        _escaped(text) + _code(code) for text, code in paragraphs if code not in examples
    ]
    related = [f"sockact-{other}(1)" for other in extra.related or commands.names()]
    body = (
        _section("SYNOPSIS", f"`{context.command_path}` {_term(commands.operands(context))}"),
        _section("DESCRIPTION", *description, extra.more),
        "" if name else _list_of_commands(),
        _section("OPTIONS", *(_item(term, text) for term, text in commands.records(context))),
        extra.sections,
        _section("EXAMPLES", *map(_code, examples), extra.examples),
        _section("SEE ALSO", ", ".join((*["sockact(1)"] * bool(name), *related, *_OTHERS))),
    )
    purpose = f"{purpose[:1].lower()}{purpose[1:]}".removesuffix(".").replace("`", "")
    return Page(f"sockact-{name}".removesuffix("-"), 1, purpose, "\n".join(body))


def _list_of_commands() -> str:
    found = (commands.context_of(name).command for name in commands.names())
    items = (_item(f"`{one.name}`", one.short_help or "") for one in found)
    return _section("COMMANDS", "Each command has its own page, such as sockact-run(1).", *items)


def _section(title: str, *blocks: str) -> str:
    text = "\n\n".join(block.strip("\n") for block in blocks if block)
    return f"{title}\n{'=' * len(title)}\n\n{text}\n" if text else ""


def _code(text: str) -> str:
    return f"\n\n::\n\n{textwrap.indent(text, '    ')}" if text else ""


def _item(term: str, text: str) -> str:
    # Not what reStructuredText takes for an option: it does not know all of ours.
    return f"\\ {_term(term)}\n    {_escaped(text)}"


def _term(text: str) -> str:
    """Return the term with its placeholders (NAME, TIME) in italics."""
    return re.sub(r"\b[A-Z][A-Z_-]*\b", r"\\ *\g<0>*\\ ", _escaped(text))


def _escaped(text: str) -> str:
    return re.sub(r"[\\*_|]", r"\\\g<0>", text)
