"""Derives the policy of the lifecycle from the settings."""

from __future__ import annotations

import os

from sockact.core.lifecycle.model import Policy, Ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings

_JITTER = 0.25
_SPARE = 15.0


def policy_of(settings: Settings) -> Policy:
    """Return the policy that these settings ask for."""
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
        hooks=tuple(dict.fromkeys(event for event, *_ in settings.on)),
        # The hooks of a generation run one by one, after a command that prints its version.
        hook_bound=_SPARE + settings.hook_timeout * len(settings.on),
        seed=int.from_bytes(os.urandom(4)) / 2**32,
    )
