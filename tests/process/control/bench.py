"""A control socket on a loop of the test's own, with a service that the test drives."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from sockact.supervisor.base.loop import READ, Loop
from sockact.supervisor.control import endpoint, server, varlink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

T = TypeVar("T")

DEADLINE = 10.0
HANDOVER: dict[str, Any] = {
    "id": 2,
    "outcome": "committed",
    "rollback": False,
    "from": 1,
    "to": 2,
    "reason": "",
    "stderr": [],
    "requested_usec": 1_700_000_000_000_000,
    "duration_seconds": 0.412,
    "drained": False,
    "kept": False,
    "share": None,
}
NO_STARTS: dict[str, Any] = {
    "interval_seconds": 300.0,
    "burst": 0,
    "failures": [],
    "supervisor_starts_usec": [],
}
NO_TIMES: dict[str, Any] = {"bounds": [], "counts": [0], "sum": 0.0}
NO_TOTALS: dict[str, Any] = {
    "handovers": [],
    "drains": NO_TIMES,
    **dict.fromkeys(("taken_back", "forced_closes", "failures", "restarts"), 0),
    "supervisor_starts": 1,
    "hook_failures": [],
}
FAILED = {
    **HANDOVER,
    "outcome": "failed",
    "reason": "exited with 1 before it was ready",
    "stderr": ["Traceback", "ImportError: \x1b[31mapp"],
}


class FakeService:
    """A service that records its calls; the test says when each is done."""

    def __init__(self, event: Callable[[], None]) -> None:
        self._event = event
        self.generations: list[dict[str, Any]] = []
        self.asked = 0
        self.resets = 0
        self.shares: list[int] = []
        self.canary: dict[str, Any] | None = None
        self.pauses: list[float] = []
        self.padding = ""
        self.refusal: varlink.Refused | None = None
        self.at_once: tuple[dict[str, Any], bool] | None = None
        self.reloads: list[tuple[bool, Callable[[dict[str, Any], bool], None]]] = []
        self.cancelled: list[int] = []
        self.rollbacks: list[Callable[[dict[str, Any], bool], None]] = []
        self.stops: list[tuple[bool, Callable[[], None]]] = []

    def status(self) -> dict[str, Any]:
        self.asked += 1
        self._event()
        return {
            "name": "app",
            "version": "1",
            "pid": os.getpid(),
            "state": "serving",
            "command": ["server", "--flag", self.padding],
            "adopt": "auto",
            "ready": "interest",
            "generations": self.generations,
            "listeners": [
                {
                    "name": "http",
                    "address": "0.0.0.0:80",
                    "type": "stream",
                    "queue_length": 3,
                    "queue_limit": 128,
                    "lanes": [],
                    "no_lanes": "",
                }
            ],
            "handover": HANDOVER,
            "starts": NO_STARTS,
            "logs": [],
            "canary": self.canary,
        }

    def reload(
        self,
        wait_drained: bool,
        force: bool,
        done: Callable[[dict[str, Any], bool], None],
        _refuse: Callable[[str], None],
        exec_reload: bool = False,
        canary: Mapping[str, Any] | None = None,
        background: bool | None = None,
    ) -> Callable[[], None]:
        if self.refusal:
            raise self.refusal
        number = len(self.reloads)
        self.reloads.append((wait_drained, done))
        self._event()
        if self.at_once:
            done(*self.at_once)
        return lambda: self.cancelled.append(number)

    def upgrade(self, failed: Callable[[str], None]) -> Callable[[], None]:
        failed("nothing newer")
        return lambda: None

    def history(self) -> dict[str, Any]:
        return {"handovers": [], "totals": NO_TOTALS}

    def rotate(self, done: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        done({"processes": 0, "files": 0, "signalled": 0, "errors": []})
        return lambda: None

    def reset(self) -> None:
        self.resets += 1

    def set_share(self, share: int) -> None:
        self.shares.append(share)

    def promote(self, done: Callable[[dict[str, Any], bool], None]) -> Callable[[], None]:
        return self.rollback(done)

    def pause(
        self, seconds: float, done: Callable[[dict[str, Any], str], None]
    ) -> Callable[[], None]:
        self.pauses.append(seconds)
        done({"seconds_left": seconds, "datagrams": False}, "")
        return lambda: None

    def resume(self, done: Callable[[dict[str, Any], str], None]) -> Callable[[], None]:
        if self.refusal:
            raise self.refusal
        done({}, "")
        return lambda: None

    def rollback(self, done: Callable[[dict[str, Any], bool], None]) -> Callable[[], None]:
        if self.refusal:
            raise self.refusal
        self.rollbacks.append(done)
        self._event()
        if self.at_once:
            done(*self.at_once)
        return lambda: None

    def stop(self, now: bool, done: Callable[[], None]) -> Callable[[], None]:
        self.stops.append((now, done))
        self._event()
        return lambda: self.stops.remove((now, done))


class Bench:
    """A server on a loop that runs only while the test waits for something."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "control"
        self.service = FakeService(self.event)
        self.loop = Loop()
        listener = endpoint.listen(str(self.path))
        self.server = server.Server(self.loop, str(directory), self.service, listener)
        self.peers: list[Peer] = []
        self._condition: Callable[[], bool] | None = None

    def wait(self, condition: Callable[[], bool]) -> None:
        """Turn the loop until the condition holds after one of its events."""
        if condition():
            return
        self._condition = condition
        late = self.loop.at(time.monotonic() + DEADLINE, self._too_late)
        while not condition():
            self.loop.run()
        self._condition = None
        late.cancel()

    def turn(self, times: int = 1) -> None:
        """Handle what is ready now, without waiting."""
        for _ in range(times):
            self.loop.at(time.monotonic(), self.loop.stop)
            self.loop.run()

    def event(self) -> None:
        if self._condition and self._condition():
            self.loop.stop()

    def peer(self) -> Peer:
        return Peer(self)

    def meanwhile(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread while the loop turns."""
        results: list[T] = []
        errors: list[BaseException] = []
        wake, signal = socket.socketpair()

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)
            signal.send(b"x")

        thread = threading.Thread(target=run)
        with wake, signal:
            self.loop.watch(wake.fileno(), READ, lambda _mask: self.event())
            thread.start()
            try:
                self.wait(lambda: bool(results or errors))
            finally:
                thread.join()
                self.loop.unwatch(wake.fileno())
        if errors:
            raise errors[0]
        return results[0]

    def idle(self) -> bool:
        """Whether the loop has no deadline at all."""
        return self.loop._timeout() is None

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.server.close()
        self.loop.close()

    def _too_late(self) -> None:
        raise TimeoutError("the test waited in vain")


class Peer:
    """A client whose socket is watched by the same loop."""

    def __init__(self, bench: Bench, *, reads: bool = True) -> None:
        self.bench = bench
        self.replies: list[varlink.Reply] = []
        self.ended = False
        self._receiver = varlink.Receiver(1 << 20)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(bench.path))
        self.socket.setblocking(False)
        self.read = reads
        if reads:
            bench.loop.watch(self.socket.fileno(), READ, self._on_ready)
        bench.peers.append(self)

    def send(self, data: bytes) -> None:
        self.socket.send(data)

    def call(
        self, method: str, *, more: bool = False, oneway: bool = False, **parameters: Any
    ) -> None:
        name = method if "." in method else f"{varlink.INTERFACE}.{method}"
        self.send(varlink.encode_call(varlink.Call(name, parameters, more, oneway)))

    def ask(self, method: str, **parameters: Any) -> varlink.Reply:
        count = len(self.replies)
        self.call(method, **parameters)
        self.bench.wait(lambda: len(self.replies) > count)
        return self.replies[-1]

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            if self.bench.loop.watched(self.socket.fileno()):
                self.bench.loop.unwatch(self.socket.fileno())
            self.socket.close()

    def _on_ready(self, _mask: int) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.ended = True
            self.bench.loop.unwatch(self.socket.fileno())
        self._receiver.feed(data)
        while (message := self._receiver.take()) is not None:
            self.replies.append(varlink.parse_reply(message))
        self.bench.event()
