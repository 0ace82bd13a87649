"""How long systemd has to wait for a service of sockact. All times are in seconds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings

MARGIN = 20.0
"""For systemd's own work, before and after the supervisor's deadlines."""


def starting(settings: Settings) -> float:
    """The longest that a start, or a reload, may take; TimeoutStartSec= without the margin."""
    warm = settings.warm_timeout if settings.warm else 0.0
    return settings.start_timeout + warm + settings.trial + settings.kill_timeout


def stopping(settings: Settings) -> float:
    """The longest that a stop may take; TimeoutStopSec= without the margin."""
    return settings.drain_timeout + settings.kill_timeout
