"""What `sockact wrap` and `unwrap` say of their outcome, and of what clients noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockact.cli.terminal.failures import Failure
from sockact.core.errors import OperatorError
from sockact.units.wrap import transaction
from sockact.units.wrap.transaction import NotRestored, ServiceError

if TYPE_CHECKING:
    from sockact.units.wrap.outage import Outage, Outcome

_UNSAID = 0.05
"""Seconds that a stated time may be off without a word."""
_SHARE = 0.1
"""The share of it that it may be off without a word."""


def start_child(name: str, *, user_unit: bool) -> None:
    """Continue in a child process, which undoes the steps even if this process is killed."""
    try:
        transaction.continue_in_child(f"{'--user-unit ' if user_unit else ''}{name}")
    except OperatorError as error:
        raise Failure(str(error)) from error


def failure(error: OperatorError, now: str, outage: Outage) -> Failure:
    """What went wrong, the state of the service now, what clients noticed, and the last lines of
    the service.
    """
    lines = error.lines if isinstance(error, ServiceError) else ()
    clients = _refused(outage.seconds, outage.unsure)
    if outage.cut_off:
        plural = "connection was" if outage.cut_off == 1 else "connections were"
        clients.append(f"{outage.cut_off} waiting {plural} cut off")
    state = [] if isinstance(error, NotRestored) else [now]
    return Failure("; ".join([str(error), *state, *clients]), lines)


def _refused(seconds: float | None, unsure: float) -> list[str]:
    if seconds is None:
        return ["how long connections were refused could not be measured"]
    if not seconds:
        return []
    # Only on a machine that is so busy that the addresses were looked at seldom.
    off = f", give or take {unsure:.2f} s" if unsure > max(_UNSAID, _SHARE * seconds) else ""
    return [f"connections were refused for {seconds:.2f} s{off}"]


def describe(outcome: Outcome) -> str:
    """What clients noticed."""
    clients = _refused(outcome.refused, outcome.unsure)
    if outcome.cut_off:
        clients.append("connections waiting in the old queue may have been cut off")
    last = f"new connections waited up to {outcome.waited:.2f} s"
    if outcome.retried:
        last += " (TCP tries again each second)"
    return "; ".join([*(clients or ["no connections were refused"]), last])
