"""Ends a service: waits for the last hooks and log lines, and answers the callers."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.hooks.runner import HookRunner
    from sockact.supervisor.logs.logs import Logs


class Shutdown:
    """Stops the loop when nothing is left to do."""

    def __init__(self, loop: Loop, hooks: HookRunner, logs: Logs) -> None:
        self.exit_status: int | None = None
        """Exit status of `sockact run`; None while the service runs."""
        self._loop = loop
        self._hooks = hooks
        self._logs = logs
        self._waiting: list[Callable[[], None]] = []

    def wait(self, done: Callable[[], None]) -> Callable[[], None]:
        """Call `done` when the service has stopped; return a function for a caller that leaves."""
        self._waiting.append(done)

        def leave() -> None:
            self._waiting = [one for one in self._waiting if one is not done]

        return leave

    def quit(self, status: int) -> None:
        """End with this exit status, after the hooks that are running and the last log lines."""
        self._hooks.when_idle(partial(self._end, status))

    def _end(self, status: int) -> None:
        self.exit_status = status
        self._logs.end(self._leave)

    def _leave(self) -> None:
        for done in self._waiting:
            self._loop.guard(done)
        self._waiting.clear()
        self._loop.stop()
