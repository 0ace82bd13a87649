"""The state of a log, as the log pump reports it: docs/logs.md."""

from __future__ import annotations

from sockact.core.message_kinds import News

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sockact.core.json_data import Json
    from sockact.supervisor.logs.messages import Message
    from sockact.supervisor.records.carried_state import CarriedLog

    class Notice(Protocol):
        """Reports something to the operator."""

        def __call__(self, message: str, news: News = ...) -> None: ...


class LogState:
    """The state of one log."""

    def __init__(self, path: str, notice: Notice) -> None:
        self.path = path
        self._notice = notice
        self._before = (0, 0)
        """Lines and bytes that earlier log pumps dropped."""
        self._dropped = (0, 0)
        self._said = 0
        self.waiting = 0
        self._error = ""

    def learn(self, message: Message) -> None:
        """Take note of a message from the log pump."""
        self._dropped = message["dropped_lines"], message["dropped_bytes"]
        self.waiting = message["waiting_bytes"]
        before, self._error = self._error, message["error"]
        if self._error and self._error != before:
            self._notice(
                f"cannot write to {self.path}: {self._error}; output is kept in memory until the "
                "file can be written",
                News.LOG,
            )
        if not self._error:
            self.say_dropped()

    def say_dropped(self) -> None:
        """Report the number of dropped lines that were not reported yet."""
        lines, _size = self._all_dropped()
        if missing := lines - self._said:
            what = "1 line was" if missing == 1 else f"{missing} lines were"
            self._notice(f"{self.path}: {what} dropped", News.LOG)
            self._said = lines

    def forget_pump(self) -> None:
        """Take note that the log pump has ended; the number of dropped lines remains."""
        self._before = self._all_dropped()
        self._dropped = (0, 0)
        self.waiting = 0
        self._error = ""

    def status(self) -> Json:
        """Return the Log of docs/control.md."""
        lines, size = self._all_dropped()
        return {
            "path": self.path,
            "dropped_lines": lines,
            "dropped_bytes": size,
            "waiting_bytes": self.waiting,
            "error": self._error,
        }

    def carried(self) -> CarriedLog:
        """Return the state to carry over an upgrade."""
        from sockact.supervisor.records.carried_state import CarriedLog

        return CarriedLog(*self._before, *self._dropped, self._said, self.waiting, self._error)

    def take_over(self, carried: CarriedLog) -> None:
        """Restore the state that an upgrade carried over."""
        self._before = carried.before_lines, carried.before_bytes
        self._dropped = carried.dropped_lines, carried.dropped_bytes
        self._said, self.waiting, self._error = carried.said, carried.waiting, carried.error

    def _all_dropped(self) -> tuple[int, int]:
        return self._before[0] + self._dropped[0], self._before[1] + self._dropped[1]
