"""A service that `sockact wrap` has changed, or could: rules of `sockact check`."""

from __future__ import annotations

import contextlib
import os

from sockact.core.errors import OperatorError
from sockact.units.check.check import Finding, Level
from sockact.units.wrap import places, takeover

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts, Unit
    from sockact.units.unitfile import Settings


def findings(facts: Facts) -> Iterator[Finding]:
    """What of a wrap is not in force."""
    service = facts.service
    own = _own(service)
    unwrap = _command(facts, "unwrap")
    left = own is None and any(map(_is_ours, facts.sockets))
    if left or places.is_unfinished(own or {}):
        message = (
            "a wrap, or the way back, is under way or was cut short: new clients may wait for good"
        )
        yield Finding(Level.ERROR, service.name, "", message, f"run {unwrap}")
    elif start := takeover.hidden_start(service):
        message = f"it changed since the wrap, and {places.DROP_IN} hides it"
        write = f"run {unwrap}, then {_command(facts, 'wrap')}"
        yield Finding(Level.ERROR, service.name, f"ExecStart={start}", message, write)


def not_run(facts: Facts) -> Finding:
    """What to do with a service that sockact does not run."""
    service = facts.service
    now = service.written("ExecStart")
    write = f"run {_command(facts, 'wrap')}"
    if _own(service) is not None:
        last = [path for path, part in service.parts.items() if "ExecStart" in _service(part)][-1:]
        now = f"{now} of {''.join(last)}"
        write = f"write it without ExecStart=, then run {_command(facts, 'unwrap')}, and wrap again"
    return Finding(Level.ERROR, service.name, now, "sockact does not run it", write)


def _own(service: Unit) -> dict[str, Settings] | None:
    """What our drop-in says; None: there is none."""
    named = (p for path, p in service.parts.items() if os.path.basename(path) == places.DROP_IN)
    return next(named, None)


def _service(part: dict[str, Settings]) -> Settings:
    return part.get("Service", {})


def _is_ours(socket: Unit) -> bool:
    with contextlib.suppress(OperatorError):
        return bool(places.ours(socket.get("FragmentPath")))
    return False


def _command(facts: Facts, name: str) -> str:
    """For the manager of the service."""
    user = "" if facts.runtime == "/run" else " --user-unit"
    return f"`sockact {name}{user} {facts.service.name.removesuffix('.service')}`"
