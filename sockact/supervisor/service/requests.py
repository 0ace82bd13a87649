"""The supervisor: what the control socket and the signals ask of the engine."""

from __future__ import annotations

import signal
from functools import partial

from sockact.core.lifecycle import events
from sockact.core.lifecycle.machine import in_progress
from sockact.core.lifecycle.model import Phase
from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.supervisor.changes.configuration import Asked
from sockact.supervisor.changes.reloads import CAUSE
from sockact.supervisor.control.server import NO_PREDECESSOR, STOPPING, TOO_MANY_FAILURES
from sockact.supervisor.control.varlink import Refused
from sockact.supervisor.generations.launched import Launched
from sockact.supervisor.processes.fd_store import Leftovers
from sockact.supervisor.records.carried import CarriedEngine, service_from, service_of
from sockact.supervisor.service.guard import Guarded
from sockact.supervisor.service.status import service_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Settings
    from sockact.supervisor.changes.configuration import Configured, Refuse
    from sockact.supervisor.changes.reloads import Watching
    from sockact.supervisor.logs.rotation import Rotated
    from sockact.supervisor.service.callers import Done
    from sockact.supervisor.service.performer import Watch
    from sockact.supervisor.service.status import Json
    from sockact.supervisor.upgrade import Upgrades
    from sockact.systemd.fdstore import Process


class Supervisor(Guarded):
    """One service. Implements control.Service."""

    _leftovers: Leftovers | None = None
    upgrades: Upgrades
    """To be set before anything is asked."""
    configured: Configured | None = None
    """Where the settings are from a file."""
    watching: Watching
    """To be set before the start."""

    def status(self) -> Json:
        """The Status of docs/control.md."""
        last = self._callers.last(self._service.handover)
        status = service_status(self._service, self._context, self._launched, self._gates, last)
        return status | {
            "starts": self._history.status(),
            "logs": self._logs.status(),
            "watch": self.watching.status(),
        }

    def reload(
        self,
        wait_drained: bool,
        force: bool,
        done: Done,
        refuse: Refuse,
        exec_reload: bool = False,
    ) -> Callable[[], None]:
        """Begin a handover, or join the queued one. With `exec_reload` systemd is not told of it.

        `refuse(reason)` instead of `done`: the configuration is invalid, nothing has begun.

        Raises Refused while stopping, and without `force` when too much has failed lately.
        """
        if self.is_stopping():
            raise Refused(STOPPING, {})
        if self._history.full() and not force:
            raise Refused(TOO_MANY_FAILURES, {"reason": self._history.describe()})
        cause = "unit" if exec_reload else "command"
        return self.ask(Asked(cause, done, refuse, wait_drained, exec_reload))

    def ask(self, asked: Asked) -> Callable[[], None]:
        """A reload is wanted; what it returns is for a caller that leaves."""
        if asked.cause != CAUSE:
            self.watching.asked()
        if self.configured:
            return self.configured.ask(asked)
        self.begin([asked])
        assert asked.joined
        return asked.joined

    def failures(self) -> str:
        """Why a reload has to be forced; "" when it has not."""
        return self._history.describe() if self._history.full() else ""

    def begin(self, asked: list[Asked]) -> None:
        """One reload for all of them."""
        identity = self._service.queued or self._service.last_handover + 1
        for one in asked:
            self._history.ledger.asked(self._service, one.cause)
            one.joined = self._callers.join(identity, one.wait_drained, one.done)
        self._announcer.reload_is_known = any(one.exec_reload for one in asked)
        self.handle(events.Reload())
        self._announcer.reload_is_known = False

    def is_stopping(self) -> bool:
        """Will there be no reload any more?"""
        return self._service.phase in (Phase.STOPPING, Phase.STOPPED)

    def is_idle(self) -> bool:
        """Is no generation starting or on trial?"""
        return not self._service.in_handover and self._service.pending is None

    def served(self) -> Settings | None:
        """Those of the generation that serves, while that is not in question."""
        serving = self._service.serving if self.is_idle() else None
        launched = self._launched.get(serving.number) if serving else None
        return launched.settings if launched else None

    def settings(self) -> Settings:
        """Those of the generation that serves."""
        return self._context.settings

    def rollback(self, done: Done) -> Callable[[], None]:
        """Go back to the generation before. Raises Refused when it is not there any more."""
        service = self._service
        if self.is_stopping():
            raise Refused(STOPPING, {})
        if not service.can_go_back:
            raise Refused(NO_PREDECESSOR, {})
        under_way = service.handover if service.in_handover else None
        if under_way is None:
            self._history.ledger.asked(service, "command")
        identity = under_way.id if under_way else service.last_handover + 1

        def finished(handover: Json, committed: bool) -> None:
            # A reload that is under way is to come to nothing.
            done(handover, committed == handover["rollback"])

        leave = self._callers.join(identity, wait_drained=False, done=finished)
        self.handle(events.Rollback())
        return leave

    def upgrade(self, failed: Callable[[str], None]) -> Callable[[], None]:
        """Let the version take over that is installed now. Raises Refused while stopping."""
        if self.is_stopping():
            raise Refused(STOPPING, {})
        return self.upgrades.ask(failed)

    def history(self) -> Json:
        """The answer to History of docs/control.md."""
        return self._history.ledger.status()

    def tell(self) -> None:
        """Something beside the lifecycle has changed that a status shows."""
        self._announcer.changed(self._service)
        self.changed()

    def reset(self) -> None:
        """Forget what has failed."""
        self._history.reset()
        self.changed()

    def rotate(self, done: Callable[[Json], None]) -> Callable[[], None]:
        """Have everybody reopen the log files that were moved."""
        return self.rotation.ask(lambda rotated: done(rotated.to_json()))

    def stop(self, now: bool, done: Callable[[], None]) -> None:
        """Begin to stop; `now` skips the drain."""
        self._stop_waiting.append(done)
        if now:
            self._stop_now()
        else:
            self.handle(events.Stop())

    def _stop_now(self) -> None:
        self.handle(events.Stop(now=True))
        if self._service.phase is Phase.STOPPED:
            self._hooking.hooks.abandon()

    def signalled(self, number: int) -> None:
        """A signal arrived; docs/lifecycle.md says what each means."""
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGHUP:
                self._hang_up()
            case signal.SIGTERM | signal.SIGINT:
                again = self._service.phase is Phase.STOPPING
                self.handle(events.Hurry() if again else events.Stop())
            case signal.SIGQUIT:
                self._stop_now()
            case signal.SIGUSR1:
                self.rotation.ask(self._tell_rotated)

    def start_after(
        self,
        left: list[Process],
        forget: Callable[[str], None],
        watchdog_interval: float | None,
    ) -> None:
        """Start when the generations of an earlier supervisor have ended."""
        self._logs.start()
        start = partial(self.start, watchdog_interval)
        if not left:
            start()
            return
        self._announcer.phase(self._service.phase, self._service)
        self._leftovers = Leftovers(self._loop, left, forget, self._notice)
        self._leftovers.wait(self._context.settings.kill_timeout, start)

    def start(self, watchdog_interval: float | None) -> None:
        """Launch the first generation; ping systemd's watchdog so often, in seconds."""
        self.handle(events.Start())
        self._start_watchdog(watchdog_interval)

    def shown(self, changed: Callable[[], None]) -> None:
        """Call this after each change that `status` shows."""
        self.changed = self._logs.changed = changed

    def watch(self, watch: Watch) -> None:
        """Tell this one, too, of children that have ended and are no program."""
        self._watches.append(watch)

    # Another version takes our place.

    def busy(self) -> str:
        """What only this process knows of, and has to end first; "" for nothing."""
        if reason := in_progress(self._service):
            return reason
        if reason := self.configured.busy() if self.configured else "":
            return reason
        if reason := self.watching.busy():
            return reason
        if any(launched.busy() for launched in self._launched.values()):
            return "a launch is not over"
        if self._hooking.hooks.busy():
            return "a hook has not ended"
        if self._calls.busy():
            return "the program has not carried out an order yet"
        if reason := self._logs.busy():
            return reason
        if self.rotation.busy():
            return "log files are being reopened"
        if self._postponed.busy():
            return "/proc cannot be read now"
        probes = self._watchdog is not None and self._watchdog.busy()
        return "the watchdog's probe is under way" if probes else ""

    def carried(self) -> CarriedEngine:
        """All that is known of the service, while not busy."""
        launched = (one.carried(self._gates) for one in self._launched.values())
        return CarriedEngine(
            self._context.adopt,
            self._context.shim_address,
            self._calls.fileno(),
            service_of(self._service),
            tuple(launched),
            *self._processes.carried(),
            self._processes.carried_failures(),
            self._history.carried(),
            *self._callers.carried(),
            self._logs.carried(),
        )

    def take_over(self, carried: CarriedEngine, watchdog_interval: float | None) -> None:
        """Go on where an earlier version of us was."""
        self._service = service_from(carried.service, self._service.policy)
        self._processes.take_over(carried)
        self._logs.take_over(carried.logs)
        for one in carried.generations:
            self._launched[one.number] = Launched.take_over(self._context, one)
            self._gates.take_over(one)
        self._callers.take_over(carried.failed_handover, carried.failed_lines)
        self._announcer.take_over(self._service.phase)
        for g in self._service.generations:
            if not g.ending:
                # The order was given a moment after it was decided on, or not at all.
                self._last_responses(g.number)
        # What ended meanwhile was announced to the process, but perhaps not to us.
        self._reap()
        self._look_for_gone()
        self._arm()
        self._announcer.changed(self._service)
        self._start_watchdog(watchdog_interval)

    def close(self) -> None:
        """Let go of everything but the listeners."""
        self._hooking.hooks.close()  # First: what is closed now must not let one begin.
        for launched in self._launched.values():
            launched.close()
        if self.configured:
            self.configured.close()
        self.watching.close()
        if self._watchdog:
            self._watchdog.close()
        if self._leftovers:
            self._leftovers.close()
        self._listeners_watch.close()
        self._logs.close()
        self._calls.close()

    def _tell_rotated(self, rotated: Rotated) -> None:
        level = report.ERROR if rotated.failed else report.INFO
        self._reporter.say(f"SIGUSR1: {rotated.describe()}", level, news=News.LOG)

    def _hang_up(self) -> None:
        if self._history.full():
            self._notice(f"SIGHUP: no reload: {self._history.describe()}")
        else:
            self.ask(Asked("SIGHUP", lambda _handover, _ok: None, lambda _reason: None))
