"""How handovers ended: for the journal, for whoever waits for it, and for whoever waits until the
predecessor is gone, too.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.core.lifecycle.model import Gate, Outcome
from sockact.core.message_kinds import News
from sockact.core.record import replace
from sockact.supervisor.base import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Generation, Handover, Service
    from sockact.supervisor.base.report import Say
    from sockact.supervisor.changes.request import Done
    from sockact.supervisor.generations.launched import Launched


class Callers:
    """Each is answered once, with the handover that it asked for, or has left before that."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._failed_output: tuple[int, list[str]] = (0, [])
        self._waiting: dict[int, list[tuple[bool, Done]]] = {}
        self._closing: dict[int, list[tuple[Handover, Done]]] = {}
        self._draining: dict[int, list[tuple[Handover, Done]]] = {}

    def join(self, identity: int, wait_drained: bool, done: Done) -> Callable[[], None]:
        """Wait for this handover; what it returns is for a caller that leaves."""
        self._waiting.setdefault(identity, []).append((wait_drained, done))

        def leave() -> None:
            for waiting in self._waiting.values():
                waiting[:] = [entry for entry in waiting if entry[1] is not done]
            for later in (*self._closing.values(), *self._draining.values()):
                later[:] = [entry for entry in later if entry[1] is not done]

        return leave

    def carried(self) -> tuple[int, tuple[str, ...]]:
        """What `last` knows beside the handover, for the supervisor that takes our place."""
        about, lines = self._failed_output
        return about, tuple(lines)

    def take_over(self, about: int, lines: tuple[str, ...]) -> None:
        """Know what an earlier version of us knew."""
        self._failed_output = about, list(lines)

    def last(self, handover: Handover | None) -> Json | None:
        """The last handover as `status` shows it."""
        if handover is None:
            return None
        about, lines = self._failed_output
        return handover_status(handover, lines if handover.id == about else [])

    def finished(
        self, handover: Handover, successor: Launched | None, predecessor: Generation | None
    ) -> None:
        """It has its outcome. `predecessor`: as long as processes of it are still there."""
        answer = partial(self._answer, handover, predecessor)
        if handover.outcome is Outcome.COMMITTED or successor is None:
            answer([])
        else:
            successor.stderr_tail(answer)

    def _answer(
        self, handover: Handover, predecessor: Generation | None, stderr: list[str]
    ) -> None:
        committed = handover.outcome is Outcome.COMMITTED
        if not committed:
            self._failed_output = (handover.id, stderr)
        self._tell(handover)
        for wait_drained, done in self._waiting.pop(handover.id, ()):
            if wait_drained and committed and predecessor is not None:
                self._draining.setdefault(predecessor.number, []).append((handover, done))
            elif committed and predecessor is not None and _accepts(predecessor):
                self._closing.setdefault(predecessor.number, []).append((handover, done))
            else:
                done(handover_status(handover, stderr), committed)

    def changed(self, service: Service) -> None:
        """Answer those whose predecessor accepts nobody any more: who connects after a reload has
        said that it is done reaches the release that it was for.
        """
        for number in tuple(self._closing):
            g = service.get(number)
            if g is None or not _accepts(g):
                for handover, done in self._closing.pop(number):
                    done(handover_status(handover, []), True)

    def _tell(self, handover: Handover) -> None:
        if handover.outcome is Outcome.COMMITTED:
            seconds = (handover.finished or handover.requested) - handover.requested
            again = " again" if handover.rollback else ""
            news = News.SERVES_AGAIN if handover.rollback else News.SERVES
            self._say(handover.successor, f"serves{again} after {seconds:.2f} s", report.INFO, news)
        else:
            what = "rollback" if handover.rollback else "reload"
            news = News.ROLLBACK_FAILED if handover.rollback else News.RELOAD_FAILED
            self._say(handover.successor, f"{what} failed: {handover.reason}", report.ERROR, news)

    def gone(self, generation: int) -> None:
        """Its last process has ended."""
        for handover, done in self._draining.pop(generation, ()):
            done(handover_status(replace(handover, drained=True), []), True)


def _accepts(g: Generation) -> bool:
    """For a moment still: the order to close its gate is out, and that has a deadline."""
    return g.gate is Gate.CLOSING and not g.ending


def handover_status(handover: Handover, stderr: list[str]) -> Json:
    """One Handover."""
    now = time.monotonic()
    return {
        "id": handover.id,
        "outcome": handover.outcome.value,
        "rollback": handover.rollback,
        "from": handover.predecessor,
        "to": handover.successor,
        "reason": handover.reason,
        "stderr": stderr,
        "requested_usec": round((time.time() - (now - handover.requested)) * 1_000_000),
        "duration_seconds": (handover.finished or now) - handover.requested,
        "drained": handover.drained,
        "kept": handover.kept,
    }
