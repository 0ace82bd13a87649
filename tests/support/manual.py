"""Help texts and man pages as words, without their layout."""

from __future__ import annotations

import re

from click.testing import CliRunner

from sockact.cli.main import cli

WIDE = 1000
_ESCAPES = {r"\e": "\\", r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(dq": '"', r"\&": ""}
_ESCAPE = re.compile(r"\\f[BIRP]|\\\(..|\\.")
_CODE = re.compile(r"^\.EX\n(.*?)^\.EE$", re.MULTILINE | re.DOTALL)


def words(text: str) -> str:
    """With one blank between words, whatever was there."""
    return " ".join(text.split())


def plain(page: str) -> str:
    """The words of a man page's file, without its macros."""
    lines = []
    for line in page.partition("\n.TH ")[2].splitlines()[1:]:
        macro, _, rest = line.partition(" ") if line.startswith(".") else ("", "", line)
        if macro in ("", ".SH", ".B"):
            lines.append(rest)
    return words(_unescaped("\n".join(lines)))


def code(page: str) -> str:
    """The code blocks of a man page's file, as they are printed."""
    return _unescaped("\n".join(_CODE.findall(page)))


def _unescaped(text: str) -> str:
    """The text without the escapes of roff."""
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[0], ""), text)


def help_of(*command: str, width: int = WIDE) -> str:
    """What `sockact COMMAND --help` prints, in long lines by default."""
    result = CliRunner().invoke(
        cli,
        [*command, "--help"],
        prog_name="sockact",
        terminal_width=width,
        max_content_width=width,
    )
    assert result.exit_code == 0, result.output
    return result.stdout


def entries(text: str, title: str) -> list[str]:
    """The lines of one list of a help text, as words."""
    _, _, rest = text.partition(f"\n{title}:\n")
    return [words(line) for line in rest.split("\n\n")[0].splitlines()]


def usage(text: str) -> str:
    """How the command is called."""
    return words(text.partition("\n\n")[0].removeprefix("Usage: "))


def description(text: str) -> list[str]:
    """The paragraphs between the usage and the lists, those of examples without their title."""
    body = text.partition("\n\n")[2].partition("\nOptions:\n")[0]
    paragraphs = [words(paragraph) for paragraph in body.split("\n\n") if paragraph.strip()]
    return [re.sub(r"^Examples?: ", "", paragraph) for paragraph in paragraphs]
