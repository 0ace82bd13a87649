"""The cause of a failure, as far as the last lines of a program tell it.

In the order of preference: the last exception (its line ends a Python traceback, or has the name
of an error and a message), the last line that a logger marked as an error, and, for a program or
worker that ended by itself, its last line. A heading comes with what is below it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 240
"""Characters of a cause."""

_TRACEBACK = "Traceback (most recent call last):"
_FRAME = '  File "'
_NAMES = ("Error", "Exception")
# What a server's main process raises because a worker has failed, and how programs are ended.
_ECHOES = ("HaltServer", "SystemExit", "KeyboardInterrupt", "CancelledError")
_ERRORS = ("error", "critical", "fatal", "emerg", "alert", "panic")
_OTHERS = ("trace", "debug", "info", "notice", "warn", "warning")
_MOST_BEFORE_LEVEL = 8
_BRACKETS = "[](){}<>:|"
# A main process about its worker, whose own lines say more.
_WORKER_ENDED = "exited with code"
_ABOUT_WORKERS = (
    *(_WORKER_ENDED, "Worker failed to boot", "App failed to load", "Shutting down"),
    "Application startup failed",
)
# The lines below name what is wrong.
_LISTED = "validation error"
_MOST_LISTED = 2
_MOST_BELOW = 3
"""Lines below a heading."""


def cause(lines: Sequence[str], *, ended: bool) -> str:
    """The cause in one line, or "". `ended`: the program exited by itself with a failure."""
    texts = [text for line in lines for text in _unfolded(_plain(line))]
    found = _exceptions(texts)
    if best := [text for text in found if _name(text) not in _ECHOES] or found:
        return _short(best[-1])
    told = [text for text in texts if text.strip()]
    own = [text for text in told if not any(map(text.__contains__, _ABOUT_WORKERS))]
    if places := [n for n, text in enumerate(own) if _has_level(text, _ERRORS)]:
        return _short(_with_rest(own[places[-1] :]))
    if ended or any(_WORKER_ENDED in text for text in told):
        last = [text for text in own if not _has_level(text, _OTHERS)][-_MOST_BELOW - 1 :]
        headings = [n for n, text in enumerate(last) if _is_heading(text)]
        return _short(_with_rest(last[headings[-1] if headings else -1 :]))
    return ""


def with_cause(reason: str, lines: Sequence[str], *, ended: bool) -> str:
    """The reason of a failure, with the cause that the program's last lines tell."""
    found = cause(lines, ended=ended)
    if not found or found in reason:
        return reason
    return f"{reason} ({found})" if ": " in reason else f"{reason}: {found}"


def _exceptions(texts: Sequence[str]) -> list[str]:
    """The exceptions in the order in which they were written."""
    found = []
    column: int | None = None
    waiting = False
    for number, text in enumerate(texts):
        if _TRACEBACK in text:
            waiting, column = True, None
        elif waiting and column is None:
            # A logger may have put a prefix in front of each line, or of the first line only.
            at = text.find(_FRAME)
            column = at if at >= 0 else None
            waiting = column is not None
        elif column is not None:
            body = text[column:]
            if body.strip() and not body.startswith(" "):
                found.append(_with_list(body, texts[number + 1 :]))
                waiting, column = False, None
        elif named := _named(text):
            found.append(_with_list(named, texts[number + 1 :]))
    return found


def _named(text: str) -> str:
    """The part of a line that names an error and its message; "" if there is none."""
    words = text.split()
    for place, word in enumerate(words[:-1]):
        if word.endswith(":") and _is_name(word[:-1]):
            return " ".join(words[place:])
    # Ruby: `app.rb:3:in 'call': undefined method 'x' (NoMethodError)`
    last = words[-1] if words else ""
    ruby = last.startswith("(") and last.endswith(")") and _is_name(last[1:-1])
    return text.strip() if ruby else ""


def _is_name(word: str) -> bool:
    parts = word.replace("::", ".").split(".")
    return parts[-1].endswith(_NAMES) and all(part.isidentifier() for part in parts)


def _name(text: str) -> str:
    """The name of an exception without its module."""
    return text.split(":", 1)[0].split(" ", 1)[0].rpartition(".")[2]


def _with_list(text: str, below: Sequence[str]) -> str:
    """The line, with those below that belong to its message."""
    if _LISTED not in text and not text.rstrip().endswith(":"):
        return text
    return " ".join([text, *(one.strip() for one in below[:_MOST_LISTED])])


def _is_heading(text: str) -> bool:
    """Whether the lines below say what this one only announces: `Errors:`, `*** ERROR ***`."""
    text = text.strip()
    return text.endswith(":") or (text[:3] == text[-3:] and not text[:3].isalnum())


def _with_rest(lines: Sequence[str]) -> str:
    """The first line and, if it is a heading, those below, without what a logger repeats."""
    if not lines or not _is_heading(lines[0]):
        return "".join(lines[:1])
    first, found = lines[0].split(), [lines[0]]
    for text in lines[1 : 1 + _MOST_BELOW]:
        if _has_level(text, _OTHERS):
            break
        words = text.split()
        same = (_shape(a) == _shape(b) for a, b in zip(words, first, strict=False))
        repeated = next((n for n, equal in enumerate(same) if not equal), 0)
        found.append(" ".join(words[repeated:]))
    return " ".join(found)


def _shape(word: str) -> str:
    """The same for all times and pids."""
    return "".join("0" if c.isdigit() else c for c in word)


def _has_level(text: str, levels: Sequence[str]) -> bool:
    """Whether a logger has put one of these levels into the line: `[ERROR] …`, `INFO: …`."""
    for word in text.split()[:_MOST_BEFORE_LEVEL]:
        name = word.strip(_BRACKETS).lower()
        if name in levels and (word != name or word.isupper()):
            return True
    return False


def _plain(line: str) -> str:
    """The line without the colours of a terminal."""
    first, *rest = line.split("\x1b[")
    return first + "".join(part.lstrip("0123456789;?")[1:] for part in rest)


def _unfolded(line: str) -> Iterator[str]:
    """The lines of a traceback that a logger has written as a text within one line of JSON."""
    if f"{_TRACEBACK}\\n" not in line:
        yield line
        return
    _head, _, rest = line.partition(_TRACEBACK)
    yield _TRACEBACK
    for part in rest.split('",')[0].split("\\n")[1:]:
        yield part.rstrip('"}').replace('\\"', '"')


def _short(text: str) -> str:
    text = " ".join(text.split()).removesuffix(".")
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
