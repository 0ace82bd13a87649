"""Reloads because something has changed on disk: docs/watch.md."""

from __future__ import annotations

import time

from sockact.core.changes import IGNORED, MOST_IN_A_ROW, Burst, Streak, What
from sockact.supervisor.base import report
from sockact.supervisor.changes.request import ReloadRequest
from sockact.supervisor.changes.watched_paths import WatchedPaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.plain import Json
    from sockact.core.settings import Settings
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.changes.configuration import ConfigurationReader

    class Handovers(Protocol):
        """What is to be reloaded."""

        def is_stopping(self) -> bool:
            """Whether there will be no more reloads."""

        def is_idle(self) -> bool:
            """Whether no generation is starting or on trial."""

        def settings(self) -> Settings:
            """Those that are in force."""

        def failures(self) -> str:
            """Why a reload has to be forced; "" when it has not."""


_CAUSE = "watch"


class ReloadTrigger:
    """Watches what the settings name, and asks for a reload when that has changed.

    `show` is called when `status` has changed; `fd` is of the supervisor whose place we take.
    """

    def __init__(
        self,
        loop: Loop,
        handovers: Handovers,
        configuration: ConfigurationReader,
        reporter: Reporter,
        show: Callable[[], None],
        fd: int | None = None,
    ) -> None:
        self._loop = loop
        self._handovers = handovers
        self._configuration = configuration
        self._reporter = reporter
        self._show = show
        self._changes = WatchedPaths(loop, self._changed, self._problem, fd)
        self._watched: tuple[tuple[str, ...], tuple[str, ...]] | None = ((), ())
        self._burst = Burst()
        self._streak = Streak()
        self._timer: Timer | None = None
        self._due = False

    def fileno(self) -> int | None:
        """For the supervisor that takes our place."""
        return self._changes.fileno()

    def busy(self) -> str:
        """What another version of us would not know of, "" for nothing."""
        return "something has changed that reloads it" if self._burst else ""

    def look(self) -> None:
        """Other settings may hold, or a reload may have ended."""
        if self._handovers.is_stopping():
            self.close()
            return
        settings = self._handovers.settings()
        wanted = (settings.watch, settings.watch_ignore)
        if wanted != self._watched:
            self._watched = wanted
            self._changes.watch(settings.watch, (*IGNORED, *settings.watch_ignore))
            self._reporter.brief(f"watches {', '.join(settings.watch) or 'nothing'}")
        if self._due and self._handovers.is_idle():
            self._reload()

    def reload_requested(self) -> None:
        """Somebody else has asked for a reload."""
        self._streak.reset()
        if self._changes.incomplete:
            self._watched = None  # Perhaps it can be watched by now.

    def stopped(self) -> str:
        """Why changes do not reload the service now, "" when they do."""
        if not self._streak.stopped:
            return ""
        pause = self._handovers.settings().watch_pause
        return f"changes do not reload it until nothing has changed for {pause:g} s"

    def status(self) -> Json | None:
        """The Watch of docs/control.md."""
        paths = self._handovers.settings().watch
        return {"paths": list(paths), "stopped": self.stopped()} if paths else None

    def close(self) -> None:
        """The service stops."""
        if self._timer:
            self._timer.cancel()
        self._due = False
        self._burst = Burst()
        self._changes.close()

    def _changed(self, path: str, what: What) -> None:
        now = time.monotonic()
        if self._streak.changed(now, self._handovers.settings().watch_pause):
            self._burst.add(path, now, what)
            self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._due = False
        if not self._burst:
            return
        delay = self._handovers.settings().watch_delay
        when = self._burst.due(delay, missing=self._changes.missing)
        self._timer = self._loop.at(when, self._is_due)

    def _is_due(self) -> None:
        self._timer = None
        self._due = True
        if self._handovers.is_idle():
            self._reload()

    def _reload(self) -> None:
        """Because of all that has changed until now."""
        if self._timer:
            self._timer.cancel()
        self._due = False
        burst, self._burst = self._burst, Burst()
        self._changes.settle()
        settings = self._handovers.settings()
        what = burst.describe(settings.directory)
        if failures := self._handovers.failures():
            self._say(f"{what}: no reload: {failures}", report.NOTICE)
        elif not self._streak.may_begin(burst.first, settings.watch_pause):
            self._say(
                f"{what}: no reload, after {MOST_IN_A_ROW} in a row: does the program write there "
                f"itself? --watch-ignore leaves files out; {self.stopped()}, or `sockact reload "
                f"{settings.name}`",
                report.ERROR,
            )
            self._show()
        else:
            self._say(f"{what}: reloads", report.INFO)
            self._ask(what)

    def _ask(self, what: str) -> None:
        def done(handover: Json, committed: bool) -> None:
            self._streak.over(time.monotonic())
            seconds = handover["duration_seconds"]
            assert isinstance(seconds, float)
            if committed:
                self._reporter.brief(f"reloaded in {seconds:.1f} s: {what}")
            else:
                self._reporter.brief(f"{what}: what was there before goes on")

        def refuse(_reason: str) -> None:
            self._streak.over(time.monotonic())

        self._configuration.reload(ReloadRequest(_CAUSE, done, refuse))

    def _problem(self, problem: str) -> None:
        self._say(f"watch: {problem}", report.ERROR)

    def _say(self, message: str, level: int) -> None:
        self._reporter.say(message, level)
