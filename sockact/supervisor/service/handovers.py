"""Reloads and rollbacks: what begins one, and the settings that each leaves in force."""

from __future__ import annotations

from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Outcome
from sockact.supervisor.control.interface import NO_PREDECESSOR, STOPPING
from sockact.supervisor.control.varlink import Refused
from sockact.supervisor.service.policy import policy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Handover
    from sockact.core.settings import Settings
    from sockact.supervisor.changes.request import Done, ReloadRequest
    from sockact.supervisor.generations.context import SettingsInForce
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.generations.launched import Launched
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.callers import Callers
    from sockact.supervisor.service.lifecycle import Lifecycle


class Handovers:
    """Those of one service. The lifecycle has at most one under way, and one queued."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        settings: SettingsInForce,
        generations: Generations,
        history: History,
        callers: Callers,
        announcer: Announcer,
    ) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._generations = generations
        self._history = history
        self._callers = callers
        self._announcer = announcer

    def reload(self, request: ReloadRequest) -> Callable[[], None]:
        """Begin a reload; what it returns is for a caller that leaves."""
        self.begin([request])
        return request.leave

    def begin(self, requests: list[ReloadRequest]) -> None:
        """Begin one reload for all of them, or join the queued one."""
        service = self._lifecycle.service
        identity = service.queued or service.last_handover + 1
        for request in requests:
            self._history.ledger.asked(service, request.cause)
            request.began(self._callers.join(identity, request.wait_drained, request.done))
        with self._announcer.systemd_knows(any(request.exec_reload for request in requests)):
            self._lifecycle.handle(events.Reload())

    def replace(self, cause: str) -> None:
        """Begin a reload for which nobody waits."""
        self._history.ledger.asked(self._lifecycle.service, cause)
        self._lifecycle.handle(events.Reload())

    def roll_back(self, done: Done) -> Callable[[], None]:
        """Go back to the previous generation; what it returns is for a caller that leaves.

        Raises Refused while stopping, and where the previous generation has ended.
        """
        service = self._lifecycle.service
        if self._lifecycle.is_stopping():
            raise Refused(STOPPING, {})
        if not service.can_go_back:
            raise Refused(NO_PREDECESSOR, {})
        under_way = service.handover if service.in_handover else None
        if under_way is None:
            self._history.ledger.asked(service, "command")
        identity = under_way.id if under_way else service.last_handover + 1

        def finished(handover: Json, committed: bool) -> None:
            # For the reload that is under way, failing is the success of its rollback.
            done(handover, committed == handover["rollback"])

        leave = self._callers.join(identity, wait_drained=False, done=finished)
        self._lifecycle.handle(events.Rollback())
        return leave

    def settle(self, handover: Handover, successor: Launched | None) -> None:
        """A handover has ended: the settings of the generation that serves are in force."""
        if handover.outcome is Outcome.COMMITTED and successor:
            self._settings.commit(successor.settings)
        self.use(self._settings.served)

    def use(self, settings: Settings) -> None:
        """Use these settings for the next generation, and for the supervisor from now on."""
        if settings is not self._settings.next:
            self._settings.use(settings)
            self._lifecycle.use(policy_of(settings))
            self._history.set_limits(settings.start_limit_interval, settings.start_limit_burst)

    def settings(self) -> Settings:
        """Those that are in force."""
        return self._settings.next

    def served(self) -> Settings | None:
        """Those of the generation that serves; None while a handover may still change that."""
        serving = self._lifecycle.service.serving if self._lifecycle.is_idle() else None
        launched = self._generations.get(serving.number) if serving else None
        return launched.settings if launched else None

    def is_stopping(self) -> bool:
        """Whether there will be no more reloads."""
        return self._lifecycle.is_stopping()

    def is_idle(self) -> bool:
        """Whether no generation is starting or on trial."""
        return self._lifecycle.is_idle()

    def failures(self) -> str:
        """Why a reload has to be forced; "" when it has not."""
        return self._history.describe() if self._history.full() else ""
