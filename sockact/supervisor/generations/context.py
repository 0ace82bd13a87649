"""What all generations of a service share."""

from __future__ import annotations

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.events import Event
    from sockact.core.settings import Adopt, Settings
    from sockact.handover.adoption.lock_files import LockFiles
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.lending import Lending
    from sockact.supervisor.logs.logs import Logs
    from sockact.supervisor.processes.hidden_sockets import HiddenSockets
    from sockact.supervisor.processes.processes import Processes


class SettingsInForce:
    """The settings in use. A handover that fails restores those of the last that succeeded."""

    def __init__(self, settings: Settings) -> None:
        self.next = settings
        """Settings of the next generation, and of the supervisor itself."""
        self.served = settings
        """Settings of the last handover that succeeded."""

    def use(self, settings: Settings) -> None:
        """Use these settings for the next generation."""
        self.next = settings

    def commit(self, settings: Settings) -> None:
        """Take note that a generation with these settings is serving."""
        self.served = settings


@dataclass
class Context:
    """What generations are launched with, and where their events go."""

    settings: SettingsInForce
    adopt: Adopt
    loop: Loop
    listeners: list[Listener]
    """All listeners of all lanes."""
    lending: Lending
    processes: Processes
    environment: dict[str, str]
    shim_address: str
    supervisor: str
    """Whom the shims expect, and where: `UID:PATH`."""
    hidden: HiddenSockets
    logs: Logs
    locks: LockFiles
    handle: Callable[[Event], None]
    """Takes the events of generations."""
    unlisted: Callable[[int, str], None]
    """Called when a generation binds an address with SO_REUSEPORT that has no listener."""
    version_unknown: Callable[[int, str], None]
    """Called with the reason when a generation's version cannot be found out."""
    version_known: Callable[[int], None]
    """Called when a command has printed a generation's version."""
    shut_down: Callable[[int], None]
    """Called when a generation has called shutdown() on a listener, which had no effect."""
