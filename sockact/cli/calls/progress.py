"""A call that may take long, with its progress in one line on the terminal.

The supervisor tells the progress: the line follows the subscription to its status, on a second
connection that is opened only if the call has no answer at once.
"""

from __future__ import annotations

import selectors
import time

from sockact.cli.calls.show import canary, span
from sockact.cli.terminal import live_line
from sockact.supervisor.control import client, interface, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sockact.supervisor.control.varlink import JsonObject

QUICK = 0.3
"""Seconds that a call may take before its progress is shown."""
_CONNECT_SECONDS = 2.0
_DOING = {
    "Promote": "switching to the canary",
    "Reload": "reloading",
    "Rollback": "switching back",
    "Pause": "waiting until no generation accepts connections",
    "Resume": "accepting connections again",
    "Rotate": "reopening log files",
    "Stop": "stopping",
}
_OF_GENERATIONS = ("Promote", "Reload", "Rollback", "Stop")


def call(
    connection: client.Client,
    method: str,
    parameters: JsonObject,
    timeout: float | None,
    name: str,
) -> JsonObject:
    """Call as `connection.call` does, and show the progress of the service of this name."""
    until = None if timeout is None else time.monotonic() + timeout
    connection.send(method, parameters)
    follower = _Follower(connection.directory, name, method)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            if not selector.select(_at_most(QUICK, until)):
                follower.begin(selector)
            _wait(selector, connection, follower, until)
        return connection.receive(_left(until)).parameters
    except client.RemoteError as error:
        if error.name != interface.TOO_MANY_CONNECTIONS:
            raise
    except client.Timeout as error:
        raise client.Timeout(connection.directory, timeout) from error
    finally:
        follower.end()
    # Turned away before the call was taken: again, with patience.
    with client.Client(connection.directory) as another:
        return another.call(method, parameters, _left(until))


def _wait(
    selector: selectors.BaseSelector,
    connection: client.Client,
    follower: _Follower,
    until: float | None,
) -> None:
    """Return when an answer has arrived, or the time is over."""
    while until is None or time.monotonic() < until:
        ready = [key.fileobj for key, _ in selector.select(_left(until))]
        if connection in ready:
            return
        if ready:
            follower.read(selector)


class _Follower:
    """The subscription to the status, which the progress is read from."""

    def __init__(self, directory: str, name: str, method: str) -> None:
        self._directory = directory
        self._name = name
        self._method = method
        self._began = time.monotonic()
        self._updates: client.Client | None = None

    def begin(self, selector: selectors.BaseSelector) -> None:
        """Subscribe; without progress if that is impossible."""
        try:
            self._updates = client.Client(self._directory, _CONNECT_SECONDS)
            self._updates.send("Status", more=True)
            selector.register(self._updates, selectors.EVENT_READ)
        except (client.ControlError, paths.RuntimeDirError):
            self.end()

    def read(self, selector: selectors.BaseSelector) -> None:
        """Show what has arrived."""
        assert self._updates is not None
        try:
            status = self._updates.receive(_CONNECT_SECONDS).parameters["status"]
            while self._updates.buffered():
                status = self._updates.receive(_CONNECT_SECONDS).parameters["status"]
        except client.ControlError:
            # It has stopped, or is no supervisor; what the call answers will tell.
            selector.unregister(self._updates)
            self.end()
            return
        told = describe(self._method, status)
        live_line.show(f"{self._name}: {told} ({span(time.monotonic() - self._began)})")

    def end(self) -> None:
        """Erase the line."""
        if self._updates is not None:
            self._updates.close()
            self._updates = None
            live_line.show("")


def describe(method: str, status: dict[str, Any]) -> str:
    """What a service is busy with during a call: as a rule the generations that come and go."""
    if method not in _OF_GENERATIONS:
        return _DOING[method]
    found = [_generation(one) for one in status["generations"]]
    if status["canary"]:
        found.insert(0, canary(status["canary"]))
    return "; ".join(filter(None, found)) or _DOING[method]


def _generation(one: dict[str, Any]) -> str:
    number, state = one["number"], one["state"]
    # A supervisor from before an upgrade does not say.
    if (warming := one.get("warming")) is not None:
        text = f"generation {number} is warming up" + (f": {warming}" if warming else "")
    elif one["on_trial"]:
        text = f"generation {number} is on trial"
    elif state == "pending":
        text = f"generation {number} is starting"
    elif state == "draining":
        text = f"generation {number} is draining{_connections(one['connections'])}"
    elif state == "failed":
        text = f"generation {number} is ending"
    else:
        return ""
    left = one["seconds_left"]
    return text if left is None else f"{text}, up to {span(left)} left"


def _connections(counts: dict[str, int] | None) -> str:
    if counts is None:
        return ""
    return f": {counts['busy']} active, {counts['fresh']} new"


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def _at_most(seconds: float, until: float | None) -> float:
    left = _left(until)
    return seconds if left is None else min(seconds, left)
