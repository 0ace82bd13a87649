"""org.sockact.Service as the supervisor implements it: what can be asked, and the errors.

The interface's own description is org.sockact.Service.varlink; docs/control.md explains it.
"""

from __future__ import annotations

from sockact.supervisor.control.varlink import INTERFACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.supervisor.control.varlink import JsonObject

    class Service(Protocol):
        """What the calls are about. May raise Refused(STOPPING) and the like."""

        def status(self) -> JsonObject:
            """The ServiceStatus of the interface, as plain JSON data."""

        def reload(
            self,
            wait_drained: bool,
            force: bool,
            done: Callable[[JsonObject, bool], None],
            refuse: Callable[[str], None],
            exec_reload: bool,
        ) -> Callable[[], None]:
            """Begin or join a reload; `done(handover, ok)` is called once, later or at once, or
            `refuse(reason)` instead: the configuration is invalid.

            `exec_reload`: systemd knows of it.
            What it returns is called, before `done`, when the client has left.
            """

        def rollback(self, done: Callable[[JsonObject, bool], None]) -> Callable[[], None]:
            """Go back to the generation before, as `reload` goes on to the next."""

        def upgrade(self, failed: Callable[[str], None]) -> Callable[[], None]:
            """Let the version take over that is installed now; `failed(reason)` when it does not.

            What it returns is called when the client has left.
            """

        def history(self) -> JsonObject:
            """The last handovers and the totals: what History answers."""

        def rotate(self, done: Callable[[JsonObject], None]) -> Callable[[], None]:
            """Reopen log files that were moved; `done(rotation)` is called when that is done.

            What it returns is called when the client has left.
            """

        def reset(self) -> None:
            """Forget what has failed."""

        def stop(self, now: bool, done: Callable[[], None]) -> None:
            """Begin to stop; `done()` is called when the service has stopped."""


STOPPING = f"{INTERFACE}.Stopping"
RELOAD_FAILED = f"{INTERFACE}.ReloadFailed"
ROLLBACK_FAILED = f"{INTERFACE}.RollbackFailed"
TOO_MANY_FAILURES = f"{INTERFACE}.TooManyFailures"
CONFIGURATION_REFUSED = f"{INTERFACE}.ConfigurationRefused"
NO_PREDECESSOR = f"{INTERFACE}.NoPredecessor"
UPGRADE_FAILED = f"{INTERFACE}.UpgradeFailed"
TOO_MANY_CONNECTIONS = f"{INTERFACE}.TooManyConnections"
