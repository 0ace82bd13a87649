"""Keeps systemd informed: the phase, the status line, and more time while work is in progress."""

from __future__ import annotations

import contextlib
import os
import time

from sockact.core.canary.schedule import percent
from sockact.core.lanes.target import share_of
from sockact.core.lifecycle.model import Outcome, Phase, State
from sockact.supervisor.base.loop import WRITE
from sockact.systemd import fdstore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.core.lifecycle.model import Generation, Handover, Service
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.systemd.notify import Notifier

_EXTEND_EVERY = 5.0
_EXTEND_BY = 15.0
_REFRESH_EVERY = 5.0
"""Seconds after which a status line that only differs in the time left is sent again."""
_WORKING = (Phase.STARTING, Phase.RELOADING, Phase.STOPPING, Phase.STOPPED)


def status_line(service: Service, failures: str = "", now: float | None = None) -> str:
    """Return the status line for `systemctl status`. `failures` describes recent failures. Times
    that are left are given if the time is known (CLOCK_MONOTONIC).
    """
    parts = [_state(service)]
    for g in service.generations:
        if g.state is not State.FAILED:
            state = g.state.value if g.trial_until is None else "on trial"
            if g.warm_until is not None:
                state = f"warming up: {g.warmth}" if g.warmth else "warming up"
            if (share := share_of(service, g.number)) is not None:
                state = f"canary, {percent(share)} of new clients"
            parts.append(f"generation {g.number} {state}{_notes(g, now)}")
    if service.handover is not None and service.handover.outcome is not Outcome.PENDING:
        parts.append(_last(service.handover))
    if failures:
        parts.append(failures)
    return "; ".join(parts)


def _state(service: Service) -> str:
    if service.pause is None or not service.is_paused:
        return service.phase.value
    # systemd gets no line for each second: the time of day needs none.
    at = time.localtime(time.time() + service.pause.until - time.monotonic())
    return f"paused by the operator until {time.strftime('%H:%M:%S', at)} at the latest"


def _notes(g: Generation, now: float | None) -> str:
    notes = [g.hint] if g.state is State.PENDING and g.misplaced else []
    if now is not None and g.times_out_at is not None:
        notes.append(f"up to {max(0.0, g.times_out_at - now):.0f} s left")
    return f" ({'; '.join(notes)})" if notes else ""


def _last(handover: Handover) -> str:
    what = "last rollback" if handover.rollback else "last reload"
    if handover.outcome is Outcome.FAILED:
        return f"{what} failed: {handover.reason}"
    seconds = (handover.finished or handover.requested) - handover.requested
    before = "" if handover.predecessor is None else f"from {handover.predecessor} "
    return f"{what}: switched {before}to {handover.successor} in {seconds:.2f} s"


class Announcer:
    """Sends notifications to systemd. It sets no timers if there is no $NOTIFY_SOCKET."""

    def __init__(
        self,
        loop: Loop,
        notifier: Notifier,
        report: Callable[[str], None] = lambda _message: None,
        failures: Callable[[], str] = lambda: "",
    ) -> None:
        """`report` gets the first failure to notify. `failures` describes recent failures."""
        self._loop = loop
        self._report: Callable[[str], None] | None = report
        self._failures = failures
        self._notifier = notifier
        self._extension: Timer | None = None
        self._phase = Phase.STARTING
        self._service: Service | None = None
        self._line = ""
        """The line that was sent last, without the times that are left."""
        self._refresh_at = 0.0
        self._reload_is_known = False
        self._background = False
        """A canary is under way, and nobody waits for its end."""
        self._look_after()

    @contextlib.contextmanager
    def systemd_knows(self, known: bool) -> Iterator[None]:
        """Mark a reload that begins in this context as known to systemd, which runs ExecReload=."""
        self._reload_is_known = known
        try:
            yield
        finally:
            self._reload_is_known = False

    def take_over(self, phase: Phase) -> None:
        """Take note of the phase that the previous version has announced."""
        self._phase = phase

    def phase(self, phase: Phase, service: Service) -> None:
        """Announce that the service has entered this phase."""
        reloaded = self._phase is Phase.RELOADING
        self._phase = phase
        line = self._new_line(service)
        match phase:
            case Phase.SERVING:
                self._notifier.ready(line)
            case Phase.RELOADING if not self._reload_is_known:
                # Not for systemd's own reload: if the supervisor were killed meanwhile, systemd
                # would wait for the READY=1 of a process that has ended, and not restart it.
                self._notifier.reloading(line)
            case Phase.STOPPING:
                self._notifier.stopping(line)
            case Phase.BACKOFF if reloaded:
                # READY=1 also ends a reload that failed. Without it the unit would stay
                # "reloading" as long as the program crashes.
                self._notifier.ready(line)
            case _:
                self._notifier.status(line)
        self._look_after()
        self._ask_for_time()

    def awaited(self, service: Service, awaited: bool) -> None:
        """Take note whether anybody waits for the end of a reload that gives a canary clients.

        If nobody does, the reload is over for systemd, which would show "reloading" for hours.
        """
        background = service.canary is not None and not awaited
        if background is not self._background:
            self._background = background
            if background:
                self._notifier.ready(self._new_line(service))
            self._ask_for_time()

    def changed(self, service: Service) -> None:
        """Update the status line, if it has changed within the phase."""
        due = time.monotonic() >= self._refresh_at
        if due or status_line(service, self._failures()) != self._line:
            before = self._line
            line = self._new_line(service)
            if self._line != before or line != before:
                self._notifier.status(line)
                self._look_after()

    def _new_line(self, service: Service) -> str:
        now, failures = time.monotonic(), self._failures()
        self._service = service
        self._line = status_line(service, failures)
        self._refresh_at = now + _REFRESH_EVERY
        return status_line(service, failures, now)

    def launched(self, pid: int) -> None:
        """Store the pidfd of a generation's first process, in case this supervisor is killed."""
        if not (self._notifier.active and self._notifier.stores):
            return
        try:
            pidfd = os.pidfd_open(pid)
            try:
                self._notifier.store(fdstore.process_name(pid), pidfd, poll=True)
            finally:
                os.close(pidfd)
        except OSError:
            pass  # No descriptor is left. The launch is more important.
        self._look_after()

    def ended(self, pid: int) -> None:
        """Remove the pidfd of a process that has ended. Before Linux 6.9, systemd does not."""
        if self._notifier.stores:
            self._notifier.remove(fdstore.process_name(pid))
            self._look_after()

    def alive(self) -> None:
        """Send WATCHDOG=1: clients are served."""
        self._notifier.watchdog()
        self._look_after()

    def _look_after(self) -> None:
        """Send what did not fit into the queue of systemd's socket as soon as there is room."""
        late = self._notifier.undelivered
        if self._report and (late or self._notifier.error):
            reason = self._notifier.error or "systemd is not reading from NOTIFY_SOCKET; retrying"
            self._report(reason)
            self._report = None
        if self._notifier.active and late != self._loop.watched(self._notifier.fileno()):
            if late:
                self._loop.watch(self._notifier.fileno(), WRITE, self._room)
            else:
                self._loop.unwatch(self._notifier.fileno())

    def _room(self, _mask: int) -> None:
        self._notifier.flush()
        self._look_after()

    def _ask_for_time(self) -> None:
        # Now, because systemd has just started a new timeout.
        if self._extension:
            self._extension.cancel()
            self._extension = None
        if self._phase in _WORKING and self._notifier.active:
            if not self._background:
                self._notifier.extend(_EXTEND_BY)
            if self._service is not None:
                self.changed(self._service)
            self._extension = self._loop.at(time.monotonic() + _EXTEND_EVERY, self._ask_for_time)
