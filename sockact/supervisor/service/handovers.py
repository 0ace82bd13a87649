"""Begins reloads and rollbacks, and keeps the settings that are in force after each."""

from __future__ import annotations

from sockact.core.canary.schedule import WHOLE
from sockact.core.lifecycle import events
from sockact.core.lifecycle.model import Outcome
from sockact.core.record import dataclass, replace
from sockact.supervisor.base.policy import plan_of, policy_of
from sockact.supervisor.control.interface import NO_CANARY, NO_PREDECESSOR, STOPPING
from sockact.supervisor.control.varlink import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from sockact.core.canary.progress import Plan
    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Handover
    from sockact.core.settings import Settings
    from sockact.supervisor.changes.request import Done, ReloadRequest
    from sockact.supervisor.generations.context import SettingsInForce
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.generations.live_generation import LiveGeneration
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.outcomes import Outcomes


@dataclass
class Handovers:
    """The handovers of one service: at most one is in progress, and one queued."""

    _lifecycle: Lifecycle
    _settings: SettingsInForce
    _generations: Generations
    _history: History
    _outcomes: Outcomes
    _announcer: Announcer
    _private: Callable[[str], bool]
    """Whether a probe can reach one generation alone."""
    _lanes_missing: Callable[[], str]
    """Returns why there are no lanes, which a canary needs; "" if there are."""

    def reload(self, request: ReloadRequest) -> Callable[[], None]:
        """Begin a reload. Call what it returns if the caller leaves."""
        self.begin([request])
        return request.leave

    def begin(self, requests: list[ReloadRequest]) -> None:
        """Begin one reload for all requests, or join the queued one."""
        service = self._lifecycle.service
        identity = service.queued or service.last_handover + 1
        for request in requests:
            self._history.ledger.asked(service, request.cause)
            background = request.background
            if background is None:
                background = self._settings.next.canary_background and not request.wait_drained
            request.began(
                self._outcomes.join(identity, request.wait_drained, request.done, background)
            )
        with self._announcer.systemd_knows(any(request.exec_reload for request in requests)):
            plan = next((request.plan for request in requests if request.plan), None)
            self._lifecycle.handle(events.Reload(plan))

    def plan(self, canary: Mapping[str, Any] | None) -> Plan | None:
        """Return the plan of a canary with these settings, if there are any; others are as
        configured. Raises Refused.
        """
        if not canary:
            return None
        if reason := self._lanes_missing():
            raise Refused(NO_CANARY, {"reason": reason})
        try:
            return plan_of(replace(self._settings.next, **canary))
        except ValueError as error:
            raise Refused(NO_CANARY, {"reason": str(error)}) from None

    def lanes_missing(self) -> str:
        """Return why there are no lanes, which a canary needs; "" if there are."""
        return self._lanes_missing()

    def set_share(self, share: int) -> None:
        """Give the canary this share of the new clients. Raises Refused."""
        self._need_canary()
        if not 0 <= share <= WHOLE:
            raise Refused(NO_CANARY, {"reason": f"a share must be from 0 to {WHOLE} thousandths"})
        self._lifecycle.handle(events.Share(share))

    def promote(self, done: Done) -> Callable[[], None]:
        """Give the canary all clients. Call what it returns if the caller leaves.

        Raises Refused if there is none.
        """
        identity = self._need_canary()
        leave = self._outcomes.join(identity, wait_drained=False, done=done)
        self._lifecycle.handle(events.Promote())
        return leave

    def _need_canary(self) -> int:
        """Return the id of the handover that is a canary. Raises Refused."""
        service = self._lifecycle.service
        if service.canary is None or service.handover is None:
            missing = self._lanes_missing()
            never = f", and there can be none: {missing}" if missing else ""
            raise Refused(NO_CANARY, {"reason": f"no canary is under way{never}"})
        return service.handover.id

    def replace(self, cause: str) -> None:
        """Replace the generation that should serve, and does not."""
        self._history.ledger.asked(self._lifecycle.service, cause)
        self._lifecycle.handle(events.Reload(gives_up=True))

    def roll_back(self, done: Done) -> Callable[[], None]:
        """Switch back to the previous generation. Call what it returns if the caller leaves.

        Raises Refused while stopping, or if the previous generation has ended.
        """
        service = self._lifecycle.service
        if self._lifecycle.is_stopping():
            raise Refused(STOPPING, {})
        if not service.can_go_back:
            raise Refused(NO_PREDECESSOR, {})
        current = service.handover if service.in_handover else None
        if current is None:
            self._history.ledger.asked(service, "command")
        identity = current.id if current else service.last_handover + 1

        def finished(handover: Json, committed: bool) -> None:
            # A rollback of the reload in progress succeeds if that reload fails.
            done(handover, committed == handover["rollback"])

        leave = self._outcomes.join(identity, wait_drained=False, done=finished)
        self._lifecycle.handle(events.Rollback())
        return leave

    def settle(self, handover: Handover, successor: LiveGeneration | None) -> None:
        """Put the settings of the serving generation in force: a handover has ended."""
        if handover.outcome is Outcome.COMMITTED and successor:
            self._settings.commit(successor.settings)
        self.use(self._settings.served)

    def use(self, settings: Settings) -> None:
        """Use these settings for the next generation and for the supervisor."""
        if settings is not self._settings.next:
            self._settings.use(settings)
            self._lifecycle.use(policy_of(settings, self._private))
            self._history.set_limits(settings.start_limit_interval, settings.start_limit_burst)

    def settings(self) -> Settings:
        """Return the settings that are in force."""
        return self._settings.next

    def served(self) -> Settings | None:
        """Return the settings of the serving generation; None while a handover may change that."""
        serving = self._lifecycle.service.serving if self._lifecycle.is_idle() else None
        launched = self._generations.get(serving.number) if serving else None
        return launched.settings if launched else None

    def is_stopping(self) -> bool:
        """Whether the service is stopping, so that there are no more reloads."""
        return self._lifecycle.is_stopping()

    def is_idle(self) -> bool:
        """Whether no generation is starting or on trial, and the service is not paused."""
        return self._lifecycle.is_idle()

    def failures(self) -> str:
        """Return the failures for which a reload has to be forced; "" if it does not have to."""
        return self._history.describe() if self._history.full() else ""
