"""Which logs a service has, and what is known of each: docs/logs.md."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.message_kinds import News
from sockact.core.record import dataclass
from sockact.supervisor.logs.file import open_log
from sockact.supervisor.records.carried import CarriedLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sockact.core.json_data import Json
    from sockact.core.settings import Settings
    from sockact.supervisor.logs.channel import Message

    class Notice(Protocol):
        """Tells the operator something."""

        def __call__(self, message: str, news: News = ...) -> None: ...


STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class Target:
    """A log, and which of a program's standard descriptors write to it."""

    path: str
    descriptors: tuple[int, ...]


def targets(settings: Settings) -> tuple[Target, ...]:
    """One for each file: standard output and error of one file keep their order in one pipe."""
    out, err = settings.log, settings.log_stderr
    if out and err in ("", out):
        return (Target(out, (STDOUT, STDERR)),)
    both = Target(out, (STDOUT,)), Target(err, (STDERR,))
    return tuple(target for target in both if target.path)


def check(settings: Settings) -> None:
    """Can the logs be written now? Raises OperatorError."""
    found = targets(settings)
    for target in found:
        try:
            os.close(open_log(target.path))
        except OSError as error:
            raise OperatorError(
                f"cannot write to the log {target.path}: {error.strerror}; {_advice(error)}"
            ) from error
    if len(found) > 1 and os.path.samefile(found[0].path, found[1].path):
        raise OperatorError(
            f"{found[0].path} and {found[1].path} are the same file: leave --log-stderr out"
        )


def _advice(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "make its directory, or give another file"
    if isinstance(error, PermissionError):
        return f"let it be writable for user {os.geteuid()}, or give another file"
    return "give another file"


class State:
    """What is known of one log."""

    def __init__(self, path: str, notice: Notice) -> None:
        self.path = path
        self._notice = notice
        self._before = (0, 0)
        """Lines and bytes that log pumps before this one have dropped."""
        self._dropped = (0, 0)
        self._said = 0
        self.waiting = 0
        self._error = ""

    def learn(self, message: Message) -> None:
        """What the log pump tells."""
        self._dropped = message["dropped_lines"], message["dropped_bytes"]
        self.waiting = message["waiting_bytes"]
        before, self._error = self._error, message["error"]
        if self._error and self._error != before:
            self._notice(
                f"{self.path}: {self._error}: lines wait until it can be written", News.LOG
            )
        if not self._error:
            self.say_dropped()

    def say_dropped(self) -> None:
        """Tell how many lines are missing, unless that was told."""
        lines, _size = self._all_dropped()
        if missing := lines - self._said:
            what = "1 line was" if missing == 1 else f"{missing} lines were"
            self._notice(f"{self.path}: {what} dropped", News.LOG)
            self._said = lines

    def forget_pump(self) -> None:
        """It has ended: what it dropped counts on."""
        self._before = self._all_dropped()
        self._dropped = (0, 0)
        self.waiting = 0
        self._error = ""

    def status(self) -> Json:
        """The Log of docs/control.md."""
        lines, size = self._all_dropped()
        return {
            "path": self.path,
            "dropped_lines": lines,
            "dropped_bytes": size,
            "waiting_bytes": self.waiting,
            "error": self._error,
        }

    def carried(self) -> CarriedLog:
        """For the supervisor that takes our place."""
        return CarriedLog(*self._before, *self._dropped, self._said, self.waiting, self._error)

    def take_over(self, carried: CarriedLog) -> None:
        """Know what an earlier version of us knew."""
        self._before = carried.before_lines, carried.before_bytes
        self._dropped = carried.dropped_lines, carried.dropped_bytes
        self._said, self.waiting, self._error = carried.said, carried.waiting, carried.error

    def _all_dropped(self) -> tuple[int, int]:
        return self._before[0] + self._dropped[0], self._before[1] + self._dropped[1]
