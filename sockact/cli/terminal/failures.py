"""How a command fails: in one line that says what to do, with an exit status."""

from __future__ import annotations


class Failure(Exception):
    """The command failed. `quoted` are lines that others wrote about it."""

    exit_code = 1

    def __init__(self, message: str, quoted: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.quoted = quoted


class Misuse(Failure):
    """The command line does not say enough, or contradicts itself; nothing was done."""

    exit_code = 2


class TimedOut(Failure):
    """The command stopped waiting at its --timeout; what it asked for goes on."""

    exit_code = 4


class NotRunning(Failure):
    """There is no such service to call."""

    exit_code = 3
