"""From reStructuredText to a man page, by docutils (0.19 or newer)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docutils import core, nodes
from docutils.writers import manpage

import sockact

_SETTINGS = {
    "_disable_config": True,
    "halt_level": 2,
    "input_encoding": "unicode",
    "output_encoding": "unicode",
}
# Without hyphenation: a path or an option that is broken at the end of a line cannot be copied.
_SOURCE = """\
==============================================================================
{page.name}
==============================================================================

------------------------------------------------------------------------------
{page.purpose}
------------------------------------------------------------------------------

:Manual section: {page.number}
:Manual group: sockact
:Version: sockact {version}
{date}

.. default-role:: strong

.. raw:: manpage

   .nr HY 0
   .nh
   .ad l

{page.body}
"""
# Options, and names of other pages.
_BOLD = re.compile(r"((?<![\w-])--[a-z][a-z-]*|\b[a-z][\w.@-]*(?=\([1-8]\)))")


@dataclass(frozen=True)
class Page:
    """A page of the manual."""

    name: str
    number: int
    purpose: str
    body: str
    """The sections, in reStructuredText; `text` is bold."""


class _Translator(manpage.Translator):
    def __init__(self, document: nodes.document) -> None:
        super().__init__(document)
        # docutils 0.19 asks for a font that newer versions of groff do not know.
        self.defs["literal_block"] = (".sp\n.EX\n", "\n.EE\n")


def roff(page: Page, date: str) -> str:
    """The man page in the macros of man(7). Raises docutils' SystemMessage for faulty markup."""
    dated = f":Date: {date}" if date else ""
    source = _SOURCE.format(page=page, version=sockact.__version__, date=dated)
    tree = core.publish_doctree(source, settings_overrides=_SETTINGS)
    for link in list(tree.findall(nodes.reference)):
        link.parent.replace(link, link.children)
    for text in list(tree.findall(nodes.Text)):
        if isinstance(text.parent, nodes.paragraph | nodes.term):
            marked = [
                nodes.strong("", piece) if number % 2 else nodes.Text(piece)
                for number, piece in enumerate(_BOLD.split(text))
                if piece
            ]
            text.parent.replace(text, marked)
    writer = manpage.Writer()
    writer.translator_class = _Translator
    found = core.publish_from_doctree(tree, writer=writer, settings_overrides=_SETTINGS)
    # A space below a heading is already there, and linters complain.
    return re.sub(r"^(\.SH .*\n)\.sp\n", r"\1", str(found), flags=re.MULTILINE)
