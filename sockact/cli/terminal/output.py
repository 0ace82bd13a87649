"""What commands write: results on stdout, a line for each failure on stderr. Never loads click.

Every command writes here and nowhere else, so nothing that others have named or written controls
the terminal: all that is not printable, but for the ends of lines, is written as an escape.
"""

from __future__ import annotations

import os
import sys

from sockact.cli.terminal.failures import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


_CLEAR = "\x1b[H\x1b[2J"


def say(text: str, *, end: str = "\n") -> None:
    """Write a result at once, in one or several lines. Raises OSError."""
    _write(_printable_lines(text) + end)


def say_anew(text: str) -> None:
    """Write a result, which replaces the last one on a terminal. Raises OSError."""
    text = _printable_lines(text)
    _write(f"{_CLEAR}{text}\n" if sys.stdout and sys.stdout.isatty() else f"{text}\n\n")


def mention(text: str) -> None:
    """Write a line that is neither a result nor a failure to stderr."""
    if sys.stderr:
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def complain(failure: Failure) -> None:
    """Write the failure in one line, and what it quotes below."""
    message = " ".join(failure.message.split()).removesuffix(".")
    quoted = [f"  | {printable(line)}" for line in failure.quoted]
    try:
        if sys.stderr:
            sys.stderr.write("\n".join([f"sockact: {printable(message)}", *quoted, ""]))
            sys.stderr.flush()
    except OSError:
        _discard(2)


def report(error: Failure | OSError) -> int:
    """Write why the command failed; its exit status."""
    if isinstance(error, Failure):
        complain(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        end_by("SIGPIPE")
    # Every other file or socket has its errors caught where it is named: this is the output.
    _discard(1)
    text = str(error) if error.filename else f"cannot write the output: {error.strerror}"
    complain(Failure(text))
    return Failure.exit_code


def end_by(name: str) -> NoReturn:
    """End as a signal of this name ends any other program."""
    import signal  # Takes long for what is rarely needed.

    number = getattr(signal, name)
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    raise AssertionError(f"{name} has been ignored")


def printable(text: str) -> str:
    """A text of other programs, without what could control the terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text
    )


def _printable_lines(text: str) -> str:
    return "\n".join(
        f"{printable(line[:-1])}\r" if line.endswith("\r") else printable(line)
        for line in text.split("\n")
    )


def _write(text: str) -> None:
    if sys.stdout:
        sys.stdout.write(text)
        sys.stdout.flush()


def _discard(fd: int) -> None:
    """Drop what is still buffered for this descriptor: at the exit it would be written again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, fd)
        os.close(nowhere)
    except OSError:
        pass
