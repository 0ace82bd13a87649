"""Derives the policy of the lifecycle from the settings."""

from __future__ import annotations

import os

from sockact.core.canary import judges, schedule
from sockact.core.canary.progress import BY, UNSURE, Plan
from sockact.core.canary.verdict import Unsure
from sockact.core.lifecycle.hooks import Hook
from sockact.core.lifecycle.model import Policy, Ready

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.settings import Settings

_JITTER = 0.25
_SPARE = 15.0


def plan_of(settings: Settings) -> Plan:
    """Return the plan of a canary with these settings. Raises ValueError."""
    by, unsure = settings.canary_by, settings.unsure
    if by not in BY:
        raise ValueError(f"canary-by must be connection or client, not {by!r}")
    if unsure not in UNSURE:
        raise ValueError(f"unsure must be wait, promote or rollback, not {unsure!r}")
    if len(settings.judge) > judges.MOST:
        raise ValueError(f"{len(settings.judge)} judges are too many; use at most {judges.MOST}")
    for judge in settings.judge:
        judges.parse(judge)
    return Plan(
        schedule.parse(settings.canary),
        Unsure(unsure),
        settings.canary_timeout,
        by == "client",
        settings.judge,
    )


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
        plan=plan_of(settings) if settings.canary else None,
        hooks=tuple(dict.fromkeys(event for event, *_ in settings.on)),
        hook_bound=_SPARE + settings.hook_timeout * _most_in_a_row(settings.on),
        seed=int.from_bytes(os.urandom(4)) / 2**32,
    )


def _most_in_a_row(hooks: tuple[tuple[str, ...], ...]) -> int:
    """Return how many commands may run before one that is waited for has ended.

    The hooks of a generation run one by one, after a command that prints its version. Those of a
    canary run again at each step: one event may be in progress while another waits.
    """
    return len(hooks) + sum(event == Hook.CANARY for event, *_ in hooks)
