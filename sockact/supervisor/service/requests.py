"""Carries out what the control socket and signals ask of the service."""

from __future__ import annotations

import signal

from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Phase
from sockact.core.message_kinds import News
from sockact.core.record import dataclass
from sockact.supervisor.base import report
from sockact.supervisor.changes.request import ReloadRequest
from sockact.supervisor.control.interface import PAUSED, STOPPING, TOO_MANY_FAILURES
from sockact.supervisor.control.varlink import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.json_data import Json
    from sockact.supervisor.base.report import Reporter
    from sockact.supervisor.changes.reload_trigger import ReloadTrigger
    from sockact.supervisor.changes.request import Done, Refuse, Reload
    from sockact.supervisor.hooks.runner import HookRunner
    from sockact.supervisor.logs.rotation import Rotation, RotationResult
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.handovers import Handovers
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.reaper import Reaper
    from sockact.supervisor.service.shutdown import Shutdown
    from sockact.supervisor.service.status import Status

    # (answer, why it failed or "")
    Paused = Callable[[Json, str], None]

    class Upgrades(Protocol):
        """Carries out upgrades in place."""

        def ask(self, failed: Callable[[str], None]) -> Callable[[], None]:
            """Upgrade as soon as nothing else is in progress. Call what it returns if the caller
            leaves.
            """

    class Pauses(Protocol):
        """Carries out pauses by the operator."""

        def pause(self, seconds: float, done: Paused) -> Callable[[], None]:
            """Pause the service for so long at most. Raises Refused."""

        def resume(self, done: Paused) -> Callable[[], None]:
            """End the pause. Raises Refused."""


@dataclass
class Requests:
    """All requests to one service: implements control.interface.Service."""

    _lifecycle: Lifecycle
    _handovers: Handovers
    _begin_reload: Reload
    _changes: ReloadTrigger
    _rotation: Rotation
    _hooks: HookRunner
    _history: History
    _shutdown: Shutdown
    _reaper: Reaper
    _upgrades: Upgrades
    _pauses: Pauses
    _status: Status
    _reporter: Reporter
    _show: Callable[[], None]
    """Called after each change that `status` shows."""

    def status(self) -> Json:
        """Return the Status of docs/control.md."""
        return self._status.of_service()

    def history(self) -> Json:
        """Return the answer to History of docs/control.md."""
        return self._history.ledger.status()

    def reload(
        self,
        wait_drained: bool,
        force: bool,
        done: Done,
        refuse: Refuse,
        exec_reload: bool = False,
        canary: Json | None = None,
        background: bool | None = None,
    ) -> Callable[[], None]:
        """Begin a reload, or join the queued one. With `exec_reload` systemd knows of it already.

        With `background`, calls `done` as soon as a canary gets clients; None: as in the settings.

        If the configuration is invalid, calls `refuse(reason)` instead of `done`.

        Raises Refused while stopping or paused, after too many recent failures without `force`, or
        if there can be no such canary.
        """
        self._refuse_if_paused()
        if not force and (failures := self._handovers.failures()):
            raise Refused(TOO_MANY_FAILURES, {"reason": failures})
        plan = self._handovers.plan(canary)
        cause = "unit" if exec_reload else "command"
        return self._reload(
            ReloadRequest(cause, done, refuse, wait_drained, exec_reload, plan, background)
        )

    def rollback(self, done: Done) -> Callable[[], None]:
        """Switch back to the previous generation. Raises Refused if it has ended, or in a pause."""
        self._refuse_if_paused()
        return self._handovers.roll_back(done)

    def set_share(self, share: int) -> None:
        """Give the canary this share of the new clients. Raises Refused."""
        self._refuse_if_paused()
        self._handovers.set_share(share)

    def promote(self, done: Done) -> Callable[[], None]:
        """Give the canary all clients. Raises Refused if there is none, or in a pause."""
        self._refuse_if_paused()
        return self._handovers.promote(done)

    def pause(self, seconds: float, done: Paused) -> Callable[[], None]:
        """Let nobody accept connections for so long at most. Raises Refused."""
        return self._pauses.pause(seconds, done)

    def resume(self, done: Paused) -> Callable[[], None]:
        """End the pause. Raises Refused if there is none."""
        return self._pauses.resume(done)

    def upgrade(self, failed: Callable[[str], None]) -> Callable[[], None]:
        """Let the installed version of sockact take over. Raises Refused while stopping."""
        if self._lifecycle.is_stopping():
            raise Refused(STOPPING, {})
        return self._upgrades.ask(failed)

    def reset(self) -> None:
        """Clear the failures that count against the limit."""
        self._history.reset()
        self._show()

    def rotate(self, done: Callable[[Json], None]) -> Callable[[], None]:
        """Make all processes reopen the log files that were moved."""
        return self._rotation.ask(lambda rotated: done(rotated.to_json()))

    def stop(self, now: bool, done: Callable[[], None]) -> Callable[[], None]:
        """Begin to stop; `now` skips the drain. Call what it returns if the caller leaves."""
        leave = self._shutdown.wait(done)
        if now:
            self._stop_now()
        else:
            self._lifecycle.handle(events.Stop())
        return leave

    def signalled(self, number: int) -> None:
        """Carry out what a signal asks for: docs/lifecycle.md."""
        match number:
            case signal.SIGCHLD:
                self._reaper.reap()
            case signal.SIGHUP:
                self._hang_up()
            case signal.SIGTERM | signal.SIGINT:
                again = self._lifecycle.service.phase is Phase.STOPPING
                self._lifecycle.handle(events.Hurry() if again else events.Stop())
            case signal.SIGQUIT:
                self._stop_now()
            case signal.SIGUSR1:
                self._rotation.ask(self._report_rotation)

    def _refuse_if_paused(self) -> None:
        """Raise Refused if the service is stopping or paused: who gets clients cannot change."""
        if self._lifecycle.is_stopping():
            raise Refused(STOPPING, {})
        if self._lifecycle.service.is_paused:
            raise Refused(PAUSED, {})

    def _reload(self, request: ReloadRequest) -> Callable[[], None]:
        self._changes.reload_requested()
        return self._begin_reload(request)

    def _hang_up(self) -> None:
        if failures := self._handovers.failures():
            self._reporter.say(f"SIGHUP: not reloading: {failures}", report.NOTICE)
        else:
            self._reload(ReloadRequest("SIGHUP", lambda _handover, _ok: None, lambda _reason: None))

    def _stop_now(self) -> None:
        self._lifecycle.handle(events.Stop(now=True))
        if self._lifecycle.service.phase is Phase.STOPPED:
            self._hooks.abandon()

    def _report_rotation(self, rotated: RotationResult) -> None:
        level = report.ERROR if rotated.failed else report.INFO
        self._reporter.say(f"SIGUSR1: {rotated.describe()}", level, news=News.LOG)
