"""Reloads because of changed files: docs/watch.md."""

from __future__ import annotations

import time

from sockact.core.changes import IGNORED, MOST_IN_A_ROW, Burst, Streak, What
from sockact.supervisor.base import report
from sockact.supervisor.changes.request import ReloadRequest
from sockact.supervisor.changes.watched_paths import WatchedPaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.changes.request import Handovers, Reload


_CAUSE = "watch"


class ReloadTrigger:
    """Watches the paths in the settings, and requests a reload when one of them changes.

    `show` is called when `status` changes. `fd` is the inotify descriptor that an upgrade carried
    over.
    """

    def __init__(
        self,
        loop: Loop,
        handovers: Handovers,
        reload: Reload,
        reporter: Reporter,
        show: Callable[[], None],
        fd: int | None = None,
    ) -> None:
        self._loop = loop
        self._handovers = handovers
        self._reload_by = reload
        self._reporter = reporter
        self._show = show
        self._paths = WatchedPaths(loop, self._changed, self._problem, fd)
        self._watched: tuple[tuple[str, ...], tuple[str, ...]] | None = ((), ())
        self._burst = Burst()
        self._streak = Streak()
        self._timer: Timer | None = None
        self._due = False

    def fileno(self) -> int | None:
        """Return the inotify descriptor, to carry over an upgrade."""
        return self._paths.fileno()

    def busy(self) -> str:
        """Return what must end before an upgrade, or ""."""
        return "a reload is due because of changed files" if self._burst else ""

    def look(self) -> None:
        """Take note of changed settings, or of the end of a reload."""
        if self._handovers.is_stopping():
            self.close()
            return
        settings = self._handovers.settings()
        wanted = (settings.watch, settings.watch_ignore)
        if wanted != self._watched:
            self._watched = wanted
            self._paths.watch(settings.watch, (*IGNORED, *settings.watch_ignore))
            self._reporter.brief(f"watching {', '.join(settings.watch) or 'nothing'}")
        if self._due and self._handovers.is_idle():
            self._reload()

    def reload_requested(self) -> None:
        """Take note of a reload that was requested otherwise."""
        self._streak.reset()
        if self._paths.incomplete:
            self._watched = None  # Try again to watch everything.

    def stopped(self) -> str:
        """Return why changes do not reload the service now, or ""."""
        if not self._streak.stopped:
            return ""
        pause = self._handovers.settings().watch_pause
        return f"not reloading until nothing has changed for {pause:g} s"

    def status(self) -> Json | None:
        """Return the Watch of docs/control.md."""
        paths = self._handovers.settings().watch
        return {"paths": list(paths), "stopped": self.stopped()} if paths else None

    def close(self) -> None:
        """Stop watching, as the service stops."""
        if self._timer:
            self._timer.cancel()
        self._due = False
        self._burst = Burst()
        self._paths.close()

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
        when = self._burst.due(delay, missing=self._paths.missing)
        self._timer = self._loop.at(when, self._is_due)

    def _is_due(self) -> None:
        self._timer = None
        self._due = True
        if self._handovers.is_idle():
            self._reload()

    def _reload(self) -> None:
        """Request a reload because of all changes until now."""
        if self._timer:
            self._timer.cancel()
        self._due = False
        burst, self._burst = self._burst, Burst()
        self._paths.settle()
        settings = self._handovers.settings()
        what = burst.describe(settings.directory)
        if failures := self._handovers.failures():
            self._say(f"{what}, not reloading: {failures}", report.NOTICE)
        elif not self._streak.may_begin(burst.first, settings.watch_pause):
            self._say(
                f"{what} after {MOST_IN_A_ROW} reloads in a row; if the program itself writes "
                f"there, use --watch-ignore; {self.stopped()}, or until `sockact reload "
                f"{settings.name}`",
                report.ERROR,
            )
            self._show()
        else:
            self._say(f"{what}, reloading", report.INFO)
            self._ask(what)

    def _ask(self, what: str) -> None:
        def done(handover: Json, committed: bool) -> None:
            self._streak.over(time.monotonic())
            seconds = handover["duration_seconds"]
            assert isinstance(seconds, float)
            if committed:
                self._reporter.brief(f"{what}, reloaded in {seconds:.1f} s")
            else:
                self._reporter.brief(
                    f"{what}, but the new version failed; still running the previous one"
                )

        def refuse(_reason: str) -> None:
            self._streak.over(time.monotonic())

        self._reload_by(ReloadRequest(_CAUSE, done, refuse))

    def _problem(self, problem: str) -> None:
        self._say(f"watch: {problem}", report.ERROR)

    def _say(self, message: str, level: int) -> None:
        self._reporter.say(message, level)
