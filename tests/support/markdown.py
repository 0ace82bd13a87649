"""The parts of a Markdown page that a test can check."""

from __future__ import annotations

import re
import shlex

_FENCE = re.compile(r"^```[a-z]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_PROMPT = re.compile(r"^[$#] ")
# Lines that name it and do not call it. Output begins with a name and a colon.
_NO_CALL = re.compile(r"\S+: |sockact:|ln |chmod |#")


def command_lines(text: str) -> list[str]:
    """The lines of the code blocks, each with those that continue it, without a prompt."""
    blocks = (block.replace("\\\n", " ") for block in _FENCE.findall(text))
    return [_PROMPT.sub("", line) for block in blocks for line in block.splitlines()]


def spans(text: str) -> list[str]:
    """What is in single backquotes, outside of code blocks."""
    return [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text))]


def sockact_words(line: str) -> list[list[str]]:
    """The words after `sockact` in a command line, if it is there; `…` is ignored."""
    if "sockact" not in line or _NO_CALL.match(line):
        return []
    words = shlex.split(line.replace("…", ""), comments=True)
    for position, word in enumerate(words):
        # `docker exec NAME sockact` and /opt/sockact/bin/sockact, too.
        if word.rpartition("/")[2] == "sockact":
            found = words[position + 1 :]
            first, *rest = found or [""]
            # `sockact reload|status`: two of them at once, in prose.
            return [[one, *rest] for one in first.split("|")] if found else []
    return []


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the rows of the table whose header starts with this cell."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("|") and line.strip("|").split("|")[0].strip() == head:
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def links(text: str) -> list[str]:
    """The targets of the links, without their anchors."""
    return [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
