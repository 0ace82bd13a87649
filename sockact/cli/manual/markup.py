"""The texts of the manual as they are written: a small part of Markdown.

A paragraph, lines indented by four blanks (code), a term with the lines `:   …` below it, and
`## TITLE` for a section.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from sockact.cli.manual.roff import Code, Items, Section

if TYPE_CHECKING:
    from sockact.cli.manual.roff import Block

_CODE = "    "
_MEANING = "\n:   "


def blocks(text: str) -> tuple[Block, ...]:
    """What the text says, without headings."""
    found: list[Block] = []
    for chunk in filter(str.strip, text.split("\n\n")):
        block = _block(chunk.strip("\n"))
        last = found[-1] if found else None
        if isinstance(block, Items) and isinstance(last, Items):
            found[-1] = Items((*last.items, *block.items))
        else:
            found.append(block)
    return tuple(found)


def sections(text: str) -> tuple[Section, ...]:
    """A text that begins with a heading."""
    _, *parts = f"\n{text}".split("\n## ")
    pairs = (part.partition("\n") for part in parts)
    return tuple(Section(title, blocks(body)) for title, _, body in pairs)


def _block(chunk: str) -> Block:
    if chunk.startswith(_CODE):
        return Code(textwrap.dedent(chunk))
    if _MEANING in chunk:
        term, _, meaning = chunk.partition(_MEANING)
        return Items(((term, meaning),))
    return chunk
