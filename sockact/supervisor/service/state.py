"""Step after step of the lifecycle: an event, what follows of it, and who hears of that."""

from __future__ import annotations

import time
from collections import deque
from functools import partial

from sockact.core.lifecycle import events
from sockact.core.lifecycle.hooks import due
from sockact.core.lifecycle.machine import next_deadline, step
from sockact.core.lifecycle.model import Service, State
from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.supervisor.base.retry import Postponed
from sockact.supervisor.service.callers import Callers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event
    from sockact.core.lifecycle.hooks import Due
    from sockact.core.lifecycle.model import Policy
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.generations.launched import Launched
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer


class Stepping:
    """The state of one service. What its actions do is a subclass's to say."""

    _turning = False
    _timer: Timer | None = None

    def __init__(
        self,
        policy: Policy,
        loop: Loop,
        announcer: Announcer,
        reporter: Reporter,
        history: History,
    ) -> None:
        self._loop = loop
        self._announcer = announcer
        self._reporter = reporter
        self._history = history
        self._launched: dict[int, Launched] = {}
        history.ledger.version_of = self._version_of
        self._service = Service(policy)
        self._events: deque[Event] = deque()
        self._callers = Callers(self._say)
        self._postponed = Postponed(loop, self._notice)
        self.changed: Callable[[], None] = lambda: None
        """Called after each change that `status` shows."""

    def handle(self, event: Event) -> None:
        """Let the lifecycle decide; an event that comes of its actions is decided after them."""
        self._events.append(event)
        if self._turning:
            return
        self._turning = True
        try:
            while self._events:
                now = time.monotonic()
                before = self._service
                self._service, asked = step(before, self._events.popleft(), now)
                self._history.ledger.stepped(self._service, asked, now)
                for action in asked:
                    key = type(action), getattr(action, "number", None)
                    self._postponed.attempt(key, partial(self._perform, action))
                self._settle()
                self._follow(due(before, self._service, asked))
        finally:
            self._turning = False
        self._arm()
        self._announcer.changed(self._service)
        self._callers.changed(self._service)
        self.changed()

    def _settle(self) -> None:
        """End the watches over generations that are not pending, or on trial, any more."""
        for number, launched in self._launched.items():
            g = self._service.get(number)
            if g is None or g.state is not State.PENDING:
                launched.settled()
            if g is None or g.trial_until is None:
                launched.trial_over()

    def _arm(self) -> None:
        when = next_deadline(self._service)
        if self._timer and self._timer.callback and self._timer.when == when:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.at(when, self._tick) if when is not None else None

    def _tick(self) -> None:
        self.handle(events.Tick())

    def _perform(self, action: Action) -> None:
        """Do what the lifecycle asks for. May raise OSError: then it is tried again later."""
        raise NotImplementedError

    def _follow(self, hooks: tuple[Due, ...]) -> None:
        """Run the commands that are due."""
        raise NotImplementedError

    def _version_of(self, number: int) -> str:
        launched = self._launched.get(number)
        return launched.version.text if launched else ""

    def _say(
        self,
        number: int,
        message: str,
        level: int = report.INFO,
        news: News = News.NOTE,
        handover: str = "",
    ) -> None:
        handover = handover or self._history.ledger.of(number)
        version = self._version_of(number)
        if version and news in (News.SERVES, News.SERVES_AGAIN):
            message = f"{message}: version {version}"
        self._reporter.say(message, level, number, news, handover, version)

    def _notice(self, message: str, news: News = News.NOTE) -> None:
        self._reporter.say(message, report.NOTICE, news=news)
