"""A stop of a service that no unit runs; units are stopped by `systemctl stop`."""

from __future__ import annotations

from sockact.cli.calls import service
from sockact.cli.terminal.output import say
from sockact.supervisor.control import client, paths


def perform(name: str | None, *, now: bool = False) -> int:
    """`sockact stop`; its exit status. Raises Failure."""
    target = service.one(name)
    with target.connect() as connection:
        try:
            target.call(connection, "Stop", {"now": now})
        except client.Disconnected:
            # It may end before its answer has left.
            if paths.is_running(target.directory):
                raise
    say(f"{target.name}: stopped")
    return 0
