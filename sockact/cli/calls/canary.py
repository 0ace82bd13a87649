"""A canary: its share is changed, or it gets all clients."""

from __future__ import annotations

from sockact.cli.calls import reload, service
from sockact.cli.terminal.failures import Misuse
from sockact.cli.terminal.output import say
from sockact.core.canary.schedule import percent
from sockact.supervisor.control import client, interface


def set_share(name: str | None, share: int) -> int:
    """`sockact canary NAME SHARE`; its exit status. Raises Failure."""
    target = service.one(name)
    with target.connect() as connection:
        try:
            connection.call("SetShare", {"share": share}, service.ANSWER_SECONDS)
        except client.RemoteError as error:
            raise refused(target.name, error) from error
    say(f"{target.name}: the canary gets {percent(share)} of the new clients, and keeps this share")
    return 0


def promote(name: str | None) -> int:
    """`sockact promote`; its exit status. Raises Failure."""
    target = service.one(name)
    with target.connect() as connection:
        try:
            answer = target.call(connection, "Promote", {})
        except client.RemoteError as error:
            raise refused(target.name, error) from error
    say(f"{target.name}: {reload.succeeded(answer['handover'])}")
    return 0


def refused(name: str, error: client.RemoteError) -> Exception:
    """What is raised for a call that needs a canary."""
    if error.name == interface.NO_CANARY:
        return Misuse(f"{name}: {error.parameters['reason']}; nothing was changed")
    return error
