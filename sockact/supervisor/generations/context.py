"""What all generations of a service share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.events import Event
    from sockact.core.settings import Adopt, Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.logs.logs import Logs
    from sockact.supervisor.processes.processes import Processes


class SettingsInForce:
    """Which settings hold now. A handover that fails leaves those of the last commit."""

    def __init__(self, settings: Settings) -> None:
        self.next = settings
        """For the next generation, and for the supervisor itself."""
        self.served = settings
        """Those of the last handover that was committed."""

    def use(self, settings: Settings) -> None:
        """The next generation is launched with these."""
        self.next = settings

    def commit(self, settings: Settings) -> None:
        """A generation that was launched with these serves."""
        self.served = settings


class Context:
    """What a generation is launched with, and where its news goes."""

    def __init__(
        self,
        settings: SettingsInForce,
        adopt: Adopt,
        loop: Loop,
        listeners: list[Listener],
        processes: Processes,
        environment: dict[str, str],
        shim_address: str,
        logs: Logs,
        handle: Callable[[Event], None],
        version_unknown: Callable[[int, str], None],
        version_known: Callable[[int], None],
    ) -> None:
        """`handle` takes the events of generations. `version_unknown` hears why a generation's
        version cannot be found, `version_known` of one whose version a command has told.
        """
        self.settings = settings
        self.adopt = adopt
        self.loop = loop
        self.listeners = listeners
        self.processes = processes
        self.environment = environment
        self.shim_address = shim_address
        self.logs = logs
        self.handle = handle
        self.version_unknown = version_unknown
        self.version_known = version_known
