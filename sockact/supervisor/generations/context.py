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


class Context:
    """One for each service; `handle` takes the events."""

    def __init__(
        self,
        settings: Settings,
        adopt: Adopt,
        loop: Loop,
        listeners: list[Listener],
        processes: Processes,
        environment: dict[str, str],
        shim_address: str,
        handle: Callable[[Event], None],
        logs: Logs,
        notice: Callable[[int, str], None],
        version_known: Callable[[int], None],
    ) -> None:
        self.settings = settings
        """For the next generation, and for the supervisor itself."""
        self.served = settings
        """Those of the last handover that was committed: one that fails leaves them."""
        self.adopt = adopt
        self.loop = loop
        self.listeners = listeners
        self.processes = processes
        self.environment = environment
        self.shim_address = shim_address
        self.handle = handle
        self.logs = logs
        self.notice = notice
        """To tell something of a generation."""
        self.version_known = version_known
        """Hears of a generation whose version a command has told."""
