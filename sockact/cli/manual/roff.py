"""A man page as text: the macros of man(7), which groff, mandoc and others read.

In the texts `…` is a command or a setting, in bold. Options (`--listen` without the marks) and
other pages (`systemd.socket(5)`) are found by their looks. Everything else stands for itself.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

_WIDTH = 79
# What roff would take for something else, or print as a typographic sign (groff_char(7)).
_SIGNS = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
    '"': r"\(dq",
}
_SPANS = re.compile(
    r"`(?P<literal>[^`]+)`"
    r"|(?P<page>[a-z][a-z0-9.@_-]*)\((?P<section>[1-8])\)"
    r"|(?<![\w-])(?P<option>--[a-z][a-z-]*)"
)
_TERM = re.compile(r"(?P<literal>(?<![\w-])--?[a-z][a-z-]*)|(?P<value>\b[A-Z][A-Z_-]*\b)")
_SENTENCE = re.compile(r"(?<=[a-z)`0-9][.:?!]) (?=[\S])")


@dataclass(frozen=True)
class Code:
    """Lines that stay as they are."""

    text: str


@dataclass(frozen=True)
class Items:
    """Terms, each with what is said of it."""

    items: tuple[tuple[str, str], ...]


Block = str | Code | Items


@dataclass(frozen=True)
class Section:
    """A heading, and what is below it. A text is a paragraph."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A page of the manual. `synopsis` is for commands: how it is called."""

    name: str
    number: int
    purpose: str
    sections: tuple[Section, ...]
    synopsis: str = ""


def render(page: Page, version: str, date: str) -> str:
    """The page's file. `date` may be empty."""
    title = f'.TH {escape(page.name.upper())} {page.number} "{date}"'
    lines = [f'{title} "sockact {escape(version)}" "sockact"']
    # A path or an option that is broken at the end of a line cannot be copied.
    lines += [".nr HY 0", ".ad l", ".SH NAME"]
    lines.append(rf"{escape(page.name)} \- {escape(page.purpose.replace('`', ''))}")
    if page.synopsis:
        lines += [".SH SYNOPSIS", _call(page.synopsis)]
    for section in page.sections:
        lines.append(f".SH {section.title}")
        first, *others = section.blocks
        lines += _block(first, first=True)
        for block in others:
            lines += _block(block)
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """The text as roff input that prints it, without a line's beginning in mind."""
    signs = (_SIGNS.get(sign, sign) for sign in text)
    return "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in signs)


def _call(text: str) -> str:
    """How a command is called: its words in bold, what stands for something in italics."""
    words = re.split(r"([A-Z|]+)", text)
    return "".join(
        rf"\fI{escape(word)}\fR" if position % 2 else _bold_words(word)
        for position, word in enumerate(words)
    )


def _bold_words(text: str) -> str:
    return re.sub(r"(?<![\w])-*[a-z][a-z-]*", lambda m: rf"\fB{escape(m[0])}\fR", text)


def _block(block: Block, *, first: bool = False) -> list[str]:
    space = [] if first else [".PP"]
    if isinstance(block, Code):
        text = [_safe(escape(line)) for line in block.text.rstrip("\n").split("\n")]
        return [*space, ".RS 4", ".EX", *text, ".EE", ".RE"]
    if isinstance(block, Items):
        items = ([".TP", _safe(_term(term)), *_paragraph(text)] for term, text in block.items)
        return [line for item in items for line in item]
    return [*space, *_paragraph(block)]


def _term(term: str) -> str:
    if "`" in term or "$" in term or "=" in term:
        return _inline(term)
    return _marked(_TERM, term, {"literal": "B", "value": "I"})


def _paragraph(text: str) -> list[str]:
    """One line for each sentence, or more; roff fills them."""
    lines = []
    for sentence in _SENTENCE.split(" ".join(text.split())):
        marked = _inline(sentence)
        lines += textwrap.wrap(marked, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_safe(line) for line in lines]


def _inline(text: str) -> str:
    return _marked(_SPANS, text, {"literal": "B", "option": "B", "page": "B"})


def _marked(pattern: re.Pattern[str], text: str, fonts: dict[str, str]) -> str:
    found, end = [], 0
    for match in pattern.finditer(text):
        kind = next(name for name in fonts if match[name])
        found.append(escape(text[end : match.start()]))
        found.append(rf"\f{fonts[kind]}{escape(match[kind])}\fR")
        if kind == "page":
            found.append(f"({match['section']})")
        end = match.end()
    return "".join([*found, escape(text[end:])])


def _safe(line: str) -> str:
    """A line that begins with a dot is text, too."""
    return rf"\&{line}" if line.startswith(".") else line
