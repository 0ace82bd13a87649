"""From the settings to what the lifecycle decides by."""

from __future__ import annotations

import os

from sockact.core.model import Policy, Ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings

_JITTER = 0.25


def policy_of(settings: Settings) -> Policy:
    """The part of the settings that the lifecycle decides by."""
    ready = {"interest": Ready.INTEREST, "notify": Ready.NOTIFY}
    return Policy(
        ready=ready.get(settings.ready, Ready.PROBE),
        start_timeout=settings.start_timeout,
        trial=settings.trial,
        probed=bool(settings.probe),
        keep_predecessor=settings.keep_predecessor,
        max_draining=settings.max_draining,
        drain_timeout=settings.drain_timeout,
        kill_timeout=settings.kill_timeout,
        jitter=_JITTER,
        seed=int.from_bytes(os.urandom(4)) / 2**32,
    )
