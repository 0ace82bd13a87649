"""Reports how handovers ended: to the journal and to those who have asked for them."""

from __future__ import annotations

import time

from sockact.core.lanes.target import share_of
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


class Outcomes:
    """The last outcome, and the callers who wait for one. Each is answered once, or leaves."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._failed_output: tuple[int, list[str]] = (0, [])
        # (whether to wait for the drain, whether the first share of a canary is enough, …)
        self._waiting: dict[int, list[tuple[bool, bool, Done]]] = {}
        self._closing: dict[int, list[tuple[Handover, Done]]] = {}
        self._draining: dict[int, list[tuple[Handover, Done]]] = {}

    def join(
        self, identity: int, wait_drained: bool, done: Done, background: bool = False
    ) -> Callable[[], None]:
        """Wait for this handover, with `wait_drained` also for the end of its predecessor, in the
        `background` only until its canary has got its first share, if it is one.

        Call what it returns if the caller leaves.
        """
        self._waiting.setdefault(identity, []).append((wait_drained, background, done))

        def leave() -> None:
            for waiting in self._waiting.values():
                waiting[:] = [entry for entry in waiting if entry[2] is not done]
            for later in (*self._closing.values(), *self._draining.values()):
                later[:] = [entry for entry in later if entry[1] is not done]

        return leave

    def carried(self) -> tuple[int, tuple[str, ...]]:
        """Return the handover that failed last and its lines, for the version that takes over."""
        about, lines = self._failed_output
        return about, tuple(lines)

    def take_over(self, about: int, lines: tuple[str, ...]) -> None:
        """Restore what the previous version returned from `carried`."""
        self._failed_output = about, list(lines)

    def awaited(self) -> bool:
        """Whether anybody waits for the outcome of a handover."""
        return any(self._waiting.values())

    def last(self, service: Service) -> Json | None:
        """Return the last handover as `status` shows it."""
        handover = service.handover
        if handover is None:
            return None
        about, lines = self._failed_output
        share = share_of(service, handover.successor)
        return handover_status(handover, lines if handover.id == about else [], share)

    def finished(self, handover: Handover, predecessor: Generation | None) -> None:
        """Report a handover that was committed. `predecessor` is None if it has ended."""
        self._report(handover)
        for wait_drained, _, done in self._waiting.pop(handover.id, ()):
            if wait_drained and predecessor is not None:
                self._draining.setdefault(predecessor.number, []).append((handover, done))
            elif predecessor is not None and _accepts(predecessor):
                self._closing.setdefault(predecessor.number, []).append((handover, done))
            else:
                done(handover_status(handover, []), True)

    def failed(self, handover: Handover, lines: list[str]) -> None:
        """Report a handover that failed, and the last lines of its successor."""
        self._failed_output = (handover.id, lines)
        self._report(handover)
        for _, _, done in self._waiting.pop(handover.id, ()):
            done(handover_status(handover, lines), False)

    def changed(self, service: Service) -> None:
        """Answer the callers who have waited for this state.

        A reload is answered when the predecessor no longer accepts connections: a client that
        connects afterwards reaches the new release.
        """
        self._leave_in_background(service)
        for number in tuple(self._closing):
            g = service.get(number)
            if g is None or not _accepts(g):
                for handover, done in self._closing.pop(number):
                    done(handover_status(handover, []), True)

    def _leave_in_background(self, service: Service) -> None:
        """Answer those for whom it is enough that the canary gets clients."""
        if service.canary is None or service.handover is None:
            return
        waiting = self._waiting.pop(service.handover.id, [])
        self._waiting[service.handover.id] = [entry for entry in waiting if not entry[1]]
        for _, background, done in waiting:
            if background:
                done(self.last(service) or {}, True)

    def _report(self, handover: Handover) -> None:
        if handover.outcome is Outcome.COMMITTED:
            seconds = (handover.finished or handover.requested) - handover.requested
            again = " again" if handover.rollback else ""
            news = News.SERVES_AGAIN if handover.rollback else News.SERVES
            self._say(
                handover.successor, f"serving{again} (ready in {seconds:.2f} s)", report.INFO, news
            )
        else:
            what = "rollback" if handover.rollback else "reload"
            news = News.ROLLBACK_FAILED if handover.rollback else News.RELOAD_FAILED
            self._say(handover.successor, f"{what} failed: {handover.reason}", report.ERROR, news)

    def gone(self, generation: int) -> None:
        """Answer the callers who wait for the end of this generation."""
        for handover, done in self._draining.pop(generation, ()):
            done(handover_status(replace(handover, drained=True), []), True)


def _accepts(g: Generation) -> bool:
    """Whether it still accepts connections for a moment: its gate is closing, with a deadline."""
    return g.gate is Gate.CLOSING and not g.ending


def handover_status(handover: Handover, lines: list[str], share: int | None = None) -> Json:
    """Return the Handover of docs/control.md."""
    now = time.monotonic()
    return {
        "id": handover.id,
        "outcome": handover.outcome.value,
        "rollback": handover.rollback,
        "from": handover.predecessor,
        "to": handover.successor,
        "reason": handover.reason,
        "stderr": lines,
        "requested_usec": round((time.time() - (now - handover.requested)) * 1_000_000),
        "duration_seconds": (handover.finished or now) - handover.requested,
        "drained": handover.drained,
        "kept": handover.kept,
        "share": share,
    }
