"""Runs of a probe's command, one at a time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.commands import CommandRun

    # A CommandRun that lacks only its `done`.
    Start = Callable[[Callable[[str], None]], CommandRun]


class Attempts:
    """Runs a command again and again; `done` is called with "" when a run passed, else with the
    reason.
    """

    def __init__(self, start: Start, done: Callable[[str], None]) -> None:
        """`start` starts a run, and may raise OSError."""
        self._start = start
        self._done = done
        self._run: CommandRun | None = None

    def begin(self) -> None:
        """Start a run, unless one is in progress."""
        if self._run is not None:
            return
        try:
            self._run = self._start(self._ended)
        except OSError as error:
            # No process left (EAGAIN), or Python is being replaced: the next run may start.
            self._done(f"cannot start: {error.strerror}")

    @property
    def in_progress(self) -> bool:
        """Whether a run has not ended yet."""
        return self._run is not None

    def stop(self) -> None:
        """Kill the current run without calling `done`."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _ended(self, reason: str) -> None:
        self._run = None
        self._done(reason)
