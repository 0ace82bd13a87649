"""Rules about a service that `sockact wrap` has changed or could change."""

from __future__ import annotations

import contextlib
import os

from sockact.core.errors import OperatorError
from sockact.units.check.finding import ERROR, Finding
from sockact.units.wrap import drop_in, marked_files, refusals
from sockact.units.wrap.service_files import DROP_IN, UNFINISHED, is_unfinished

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts, Unit
    from sockact.units.unitfile import Settings


def findings(facts: Facts) -> Iterator[Finding]:
    """A wrap that is incomplete or outdated."""
    service = facts.service
    own = _own(service)
    unwrap = _command(facts, "unwrap")
    left = own is None and any(map(_is_ours, facts.sockets))
    if left or is_unfinished(own or {}):
        message = f"{UNFINISHED}, so new clients may wait forever"
        yield Finding(ERROR, service.name, "", message, f"run {unwrap}")
    elif start := drop_in.hidden_start(service):
        message = f"it has changed since `sockact wrap`, but {DROP_IN} overrides it"
        write = f"run {unwrap}, then {_command(facts, 'wrap')}"
        yield Finding(ERROR, service.name, f"ExecStart={start}", message, write)


def not_run(facts: Facts) -> Finding:
    """The finding for a service that sockact does not run."""
    service = facts.service
    now = service.written("ExecStart")
    write = f"run {_command(facts, 'wrap')}"
    if _own(service) is not None:
        last = [path for path, part in service.parts.items() if "ExecStart" in _service(part)][-1:]
        now = f"{now} of {''.join(last)}"
        write = f"remove ExecStart= there, run {_command(facts, 'unwrap')}, then wrap it again"
    elif why := refusals.find_reason(facts):
        message, _, how = f"sockact does not run the service, and cannot: {why}".rpartition("; ")
        return Finding(ERROR, service.name, now, message or how, how)
    return Finding(ERROR, service.name, now, "sockact does not run the service", write)


def _own(service: Unit) -> dict[str, Settings] | None:
    """The sections of our drop-in; None if there is none."""
    named = (p for path, p in service.parts.items() if os.path.basename(path) == DROP_IN)
    return next(named, None)


def _service(part: dict[str, Settings]) -> Settings:
    return part.get("Service", {})


def _is_ours(socket: Unit) -> bool:
    with contextlib.suppress(OperatorError):
        return bool(marked_files.read(socket.get("FragmentPath")))
    return False


def _command(facts: Facts, name: str) -> str:
    """A sockact command line for the service, with --user-unit if needed."""
    user = "" if facts.runtime == "/run" else " --user-unit"
    return f"`sockact {name}{user} {facts.service.name.removesuffix('.service')}`"
