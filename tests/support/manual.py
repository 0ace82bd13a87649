"""Reading help texts and man pages as a person does: words, without the layout."""

from __future__ import annotations

import re

from click.testing import CliRunner

from sockact.cli.main import cli

WIDE = 1000
_ESCAPES = {r"\e": "\\", r"\-": "-", r"\(aq": "'", r"\(ga": "`", r"\(ha": "^", r"\(ti": "~"}
_ESCAPES |= {r"\(dq": '"', r"\&": ""}
_ESCAPE = re.compile(r"\\f[BIR]|\\\[u([0-9A-F]{4,6})\]|\\\(..|\\.")


def words(text: str) -> str:
    """With one blank between words, whatever was there."""
    return " ".join(text.split())


def plain(page: str) -> str:
    """The words of a man page's file, without its macros."""
    lines = []
    for line in page.splitlines():
        macro, _, rest = line.partition(" ") if line.startswith(".") else ("", "", line)
        if macro in ("", ".SH"):
            lines.append(rest)
    return words(plain_code("\n".join(lines)))


def plain_code(text: str) -> str:
    """The text without the escapes of roff."""
    return _ESCAPE.sub(_meaning, text)


def _meaning(found: re.Match[str]) -> str:
    if found[0].startswith(r"\f"):
        return ""
    return chr(int(found[1], 16)) if found[1] else _ESCAPES[found[0]]


def help_of(*command: str) -> str:
    """What `sockact COMMAND --help` prints, in long lines."""
    result = CliRunner().invoke(
        cli, [*command, "--help"], prog_name="sockact", terminal_width=WIDE, max_content_width=WIDE
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
    """The paragraphs between the usage and the lists."""
    body = text.partition("\n\n")[2].partition("\nOptions:\n")[0]
    paragraphs = [words(paragraph) for paragraph in body.split("\n\n") if paragraph.strip()]
    return [one for one in paragraphs if not one.startswith("Example: ")]
