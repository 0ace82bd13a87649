"""A finding of `sockact check` that only the running service shows: ports without a listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sockact.cli.calls import service
from sockact.cli.terminal.failures import Failure
from sockact.units.check.finding import WARNING, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 2.0


def find(unit: str, name: str) -> Iterator[Finding]:
    """The ports that the service binds with SO_REUSEPORT and that no listener covers; none if it
    does not run.
    """
    try:
        with service.one(name).connect(_SECONDS) as connection:
            status = connection.call("Status")["status"]
    except Failure:
        return
    for generation in status["generations"]:
        if generation["state"] != "running":
            continue
        for address in generation.get("unlisted") or ():
            yield Finding(
                WARNING,
                unit,
                "",
                f"the program binds {address} with SO_REUSEPORT, and no listener covers it: its "
                f"clients lose connections at each reload",
                f"set ListenStream={address} in the .socket unit",
            )
