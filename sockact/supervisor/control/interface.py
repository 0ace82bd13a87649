"""The calls of org.sockact.Service, for the supervisor; its errors, for both sides.

org.sockact.Service.varlink is the formal description; docs/control.md explains it.
"""

from __future__ import annotations

from sockact.supervisor.control.varlink import INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.supervisor.control.varlink import JsonObject

    class Service(Protocol):
        """Answers the calls. Each method may raise Refused(STOPPING) and the like."""

        def status(self) -> JsonObject:
            """Return the Status, as JSON data."""

        def reload(
            self,
            wait_drained: bool,
            force: bool,
            done: Callable[[JsonObject, bool], None],
            refuse: Callable[[str], None],
            exec_reload: bool,
            canary: JsonObject,
            background: bool | None,
        ) -> Callable[[], None]:
            """Begin or join a reload; call `done(handover, ok)` once, now or later, or
            `refuse(reason)` if the configuration is invalid.

            `exec_reload`: systemd knows of the reload. `canary`: the settings of a canary, by
            their names in core/settings.py; without steps there is none. `background`: call `done`
            as soon as a canary gets clients; None: as in the settings.
            Returns what to call if the client leaves before `done`.
            """

        def rollback(self, done: Callable[[JsonObject, bool], None]) -> Callable[[], None]:
            """Switch back to the previous generation; otherwise like `reload`."""

        def set_share(self, share: int) -> None:
            """Give the canary this share of the new clients, in thousandths."""

        def promote(self, done: Callable[[JsonObject, bool], None]) -> Callable[[], None]:
            """Give the canary all clients; otherwise like `reload`."""

        def pause(
            self, seconds: float, done: Callable[[JsonObject, str], None]
        ) -> Callable[[], None]:
            """Let nobody accept connections for so long at most; call `done(answer, reason)` when
            nobody does, with a reason if that is impossible.

            Returns what to call if the client leaves.
            """

        def resume(self, done: Callable[[JsonObject, str], None]) -> Callable[[], None]:
            """End the pause; otherwise like `pause`."""

        def upgrade(self, failed: Callable[[str], None]) -> Callable[[], None]:
            """Let the installed version take over; call `failed(reason)` if it does not.

            Returns what to call if the client leaves.
            """

        def history(self) -> JsonObject:
            """Return the last handovers and the totals, the answer to History."""

        def rotate(self, done: Callable[[JsonObject], None]) -> Callable[[], None]:
            """Reopen log files that were moved; call `done(rotation)` afterwards.

            Returns what to call if the client leaves.
            """

        def reset(self) -> None:
            """Clear the failures that count against the limit."""

        def stop(self, now: bool, done: Callable[[], None]) -> Callable[[], None]:
            """Begin to stop; call `done()` when the service has stopped.

            Returns what to call if the client leaves.
            """


PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds after which a pause ends by itself, unless the call says otherwise, and at the latest:
most clients have given up by then.
"""

STOPPING = f"{INTERFACE}.Stopping"
RELOAD_FAILED = f"{INTERFACE}.ReloadFailed"
ROLLBACK_FAILED = f"{INTERFACE}.RollbackFailed"
TOO_MANY_FAILURES = f"{INTERFACE}.TooManyFailures"
CONFIGURATION_REFUSED = f"{INTERFACE}.ConfigurationRefused"
NO_CANARY = f"{INTERFACE}.NoCanary"
NO_PREDECESSOR = f"{INTERFACE}.NoPredecessor"
NOT_PAUSED = f"{INTERFACE}.NotPaused"
PAUSED = f"{INTERFACE}.Paused"
PAUSE_FAILED = f"{INTERFACE}.PauseFailed"
UPGRADE_FAILED = f"{INTERFACE}.UpgradeFailed"
TOO_MANY_CONNECTIONS = f"{INTERFACE}.TooManyConnections"
