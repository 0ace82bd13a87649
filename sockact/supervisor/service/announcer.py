"""Keeping systemd informed: the phase, a status line, and more time while work goes on."""

from __future__ import annotations

import contextlib
import os
import time

from sockact.core.lifecycle.model import Outcome, Phase, State
from sockact.supervisor.base.loop import WRITE
from sockact.systemd import fdstore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.core.lifecycle.model import Handover, Service
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.systemd.notify import Notifier

_EXTEND_EVERY = 5.0
_EXTEND_BY = 15.0
_WORKING = (Phase.STARTING, Phase.RELOADING, Phase.STOPPING, Phase.STOPPED)


def status_line(service: Service, failures: str = "") -> str:
    """The service in one line, for `systemctl status`; `failures`: what has failed lately."""
    parts = [service.phase.value]
    for g in service.generations:
        if g.state is not State.FAILED:
            parts.append(f"generation {g.number} {g.state.value}")
    if service.handover is not None and service.handover.outcome is not Outcome.PENDING:
        parts.append(_last(service.handover))
    if failures:
        parts.append(failures)
    return "; ".join(parts)


def _last(handover: Handover) -> str:
    what = "last rollback" if handover.rollback else "last reload"
    if handover.outcome is Outcome.FAILED:
        return f"{what} failed: {handover.reason}"
    seconds = (handover.finished or handover.requested) - handover.requested
    before = "" if handover.predecessor is None else f"{handover.predecessor} to "
    return f"{what}: {before}{handover.successor}, committed after {seconds:.2f} s"


class Announcer:
    """Turns phases into notifications. Its timers exist only where systemd listens.

    `report` hears, once, that systemd could not be told something.
    """

    def __init__(
        self,
        loop: Loop,
        notifier: Notifier,
        report: Callable[[str], None] = lambda _message: None,
        failures: Callable[[], str] = lambda: "",
    ) -> None:
        self._loop = loop
        self._report: Callable[[str], None] | None = report
        self._failures = failures
        self._notifier = notifier
        self._extension: Timer | None = None
        self._phase = Phase.STARTING
        self._line = ""
        self._reload_is_known = False
        self._look_after()

    @contextlib.contextmanager
    def systemd_knows(self, known: bool) -> Iterator[None]:
        """A reload that begins in here is systemd's own, if `known`: it runs ExecReload=."""
        self._reload_is_known = known
        try:
            yield
        finally:
            self._reload_is_known = False

    def take_over(self, phase: Phase) -> None:
        """systemd knows of this phase from an earlier version of us."""
        self._phase = phase

    def phase(self, phase: Phase, service: Service) -> None:
        """The service entered this phase."""
        reloaded = self._phase is Phase.RELOADING
        self._phase = phase
        self._line = line = status_line(service, self._failures())
        match phase:
            case Phase.SERVING:
                self._notifier.ready(line)
            case Phase.RELOADING if not self._reload_is_known:
                # Of its own reload systemd is not told again: should we be killed in the middle, it
                # would wait for the READY=1 of a process that is gone, instead of starting anew.
                self._notifier.reloading(line)
            case Phase.STOPPING:
                self._notifier.stopping(line)
            case Phase.BACKOFF if reloaded:
                # To systemd, READY=1 also is the end of a reload that failed; without it the
                # unit would stay "reloading" as long as the program crashes.
                self._notifier.ready(line)
            case _:
                self._notifier.status(line)
        self._look_after()
        self._ask_for_time()

    def changed(self, service: Service) -> None:
        """Something changed within the phase: only the status line is told, once."""
        line = status_line(service, self._failures())
        if line != self._line:
            self._line = line
            self._notifier.status(line)
            self._look_after()

    def launched(self, pid: int) -> None:
        """The first process of a generation runs: should we be killed, our successor has to know
        of it. So systemd keeps its pidfd.
        """
        if not (self._notifier.active and self._notifier.stores):
            return
        try:
            pidfd = os.pidfd_open(pid)
            try:
                self._notifier.store(fdstore.process_name(pid), pidfd, poll=True)
            finally:
                os.close(pidfd)
        except OSError:
            pass  # No descriptor is to be had: the launch is worth more.
        self._look_after()

    def ended(self, pid: int) -> None:
        """That process is gone. A kernel before 6.9 does not tell systemd so."""
        if self._notifier.stores:
            self._notifier.remove(fdstore.process_name(pid))
            self._look_after()

    def alive(self) -> None:
        """Clients are served: WATCHDOG=1."""
        self._notifier.watchdog()
        self._look_after()

    def _look_after(self) -> None:
        """Whatever systemd's queue had no room for is sent as soon as there is room."""
        late = self._notifier.undelivered
        if self._report and (late or self._notifier.error):
            reason = self._notifier.error or "NOTIFY_SOCKET: systemd does not read; trying again"
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
        # At once: systemd's clock for this piece of work starts anew.
        if self._extension:
            self._extension.cancel()
            self._extension = None
        if self._phase in _WORKING and self._notifier.active:
            self._notifier.extend(_EXTEND_BY)
            self._extension = self._loop.at(time.monotonic() + _EXTEND_EVERY, self._ask_for_time)
