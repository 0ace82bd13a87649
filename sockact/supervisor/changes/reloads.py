"""Reloads because something has changed on disk: docs/watch.md."""

from __future__ import annotations

import time

from sockact.core.changes import IGNORED, MOST_IN_A_ROW, Burst, Streak, What
from sockact.supervisor.base import report
from sockact.supervisor.changes.configuration import Asked
from sockact.supervisor.changes.directories import Changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sockact.core.settings import Settings
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.service.status import Json

    class Reloads(Protocol):
        """Who reloads."""

        def is_stopping(self) -> bool:
            """Will there be no reload any more?"""

        def is_idle(self) -> bool:
            """Is no generation starting or on trial?"""

        def settings(self) -> Settings:
            """Those of the generation that serves."""

        def failures(self) -> str:
            """Why a reload has to be forced; "" when it has not."""

        def ask(self, asked: Asked) -> object:
            """A reload is wanted."""

        def tell(self) -> None:
            """What a status shows of us has changed."""


CAUSE = "watch"


class Watching:
    """Watches what the settings name, and asks for a reload when that has changed.

    `fd` is of the supervisor whose place we take.
    """

    def __init__(
        self, loop: Loop, reloads: Reloads, reporter: Reporter, fd: int | None = None
    ) -> None:
        self._loop = loop
        self._reloads = reloads
        self._reporter = reporter
        self._changes = Changes(loop, self._changed, self._problem, fd)
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
        if self._reloads.is_stopping():
            self.close()
            return
        settings = self._reloads.settings()
        wanted = (settings.watch, settings.watch_ignore)
        if wanted != self._watched:
            self._watched = wanted
            self._changes.watch(settings.watch, (*IGNORED, *settings.watch_ignore))
            self._reporter.brief(f"watches {', '.join(settings.watch) or 'nothing'}")
        if self._due and self._reloads.is_idle():
            self._reload()

    def asked(self) -> None:
        """Somebody else has asked for a reload."""
        self._streak.reset()
        if self._changes.incomplete:
            self._watched = None  # Perhaps it can be watched by now.

    def stopped(self) -> str:
        """Why changes do not reload the service now, "" when they do."""
        if not self._streak.stopped:
            return ""
        pause = self._reloads.settings().watch_pause
        return f"changes do not reload it until nothing has changed for {pause:g} s"

    def status(self) -> Json | None:
        """The Watch of docs/control.md."""
        paths = self._reloads.settings().watch
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
        if self._streak.changed(now, self._reloads.settings().watch_pause):
            self._burst.add(path, now, what)
            self._arm()

    def _arm(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._due = False
        if not self._burst:
            return
        delay = self._reloads.settings().watch_delay
        when = self._burst.due(delay, missing=self._changes.missing)
        self._timer = self._loop.at(when, self._is_due)

    def _is_due(self) -> None:
        self._timer = None
        self._due = True
        if self._reloads.is_idle():
            self._reload()

    def _reload(self) -> None:
        """Because of all that has changed until now."""
        if self._timer:
            self._timer.cancel()
        self._due = False
        burst, self._burst = self._burst, Burst()
        self._changes.settle()
        settings = self._reloads.settings()
        what = burst.describe(settings.directory)
        if failures := self._reloads.failures():
            self._say(f"{what}: no reload: {failures}", report.NOTICE)
        elif not self._streak.may_begin(burst.first, settings.watch_pause):
            self._say(
                f"{what}: no reload, after {MOST_IN_A_ROW} in a row: does the program write there "
                f"itself? --watch-ignore leaves files out; {self.stopped()}, or `sockact reload "
                f"{settings.name}`",
                report.ERROR,
            )
            self._reloads.tell()
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

        self._reloads.ask(Asked(CAUSE, done, refuse))

    def _problem(self, problem: str) -> None:
        self._say(f"watch: {problem}", report.ERROR)

    def _say(self, message: str, level: int) -> None:
        self._reporter.say(message, level)
