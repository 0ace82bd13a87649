"""Derives the policy of the lifecycle from the settings."""

from __future__ import annotations

import os

from sockact.core.canary import schedule
from sockact.core.canary.progress import BY, Plan
from sockact.core.canary.verdict import Unsure
from sockact.core.lifecycle.model import Policy, Ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Settings

_JITTER = 0.25
_SPARE = 15.0


def plan_of(steps: str, by: str) -> Plan:
    """Return the plan of a canary with these steps. Raises ValueError."""
    if by not in BY:
        raise ValueError(f"clients are shared out by connection or by client, not by {by!r}")
    # Nothing is measured yet: a step ends by its time, unless the canary dies.
    return Plan(schedule.parse(steps), unsure=Unsure.PROMOTE, by_client=by == "client")


def policy_of(settings: Settings, private: Callable[[str], bool]) -> Policy:
    """Return the policy that these settings ask for. `private`: whether a probe reaches one
    generation alone.
    """
    ready = {"interest": Ready.INTEREST, "notify": Ready.NOTIFY}
    return Policy(
        ready=ready.get(settings.ready, Ready.PROBE),
        start_timeout=settings.start_timeout,
        warm=settings.warm_timeout if settings.warm else 0.0,
        trial=settings.trial,
        private_ready=private(settings.ready),
        private_trial=private(settings.probe),
        probed=bool(settings.probe),
        keep_predecessor=settings.keep_predecessor,
        max_draining=settings.max_draining,
        drain_timeout=settings.drain_timeout,
        kill_timeout=settings.kill_timeout,
        jitter=_JITTER,
        plan=plan_of(settings.canary, settings.canary_by) if settings.canary else None,
        hooks=tuple(dict.fromkeys(event for event, *_ in settings.on)),
        # The hooks of a generation run one by one, after a command that prints its version.
        hook_bound=_SPARE + settings.hook_timeout * len(settings.on),
        seed=int.from_bytes(os.urandom(4)) / 2**32,
    )
