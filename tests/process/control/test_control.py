"""The control server on a real loop with real sockets, for good and bad clients."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from sockact.supervisor.base.loop import READ, Loop
from sockact.supervisor.control import interface, paths, server, varlink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
                }
            ],
            "handover": HANDOVER,
            "starts": NO_STARTS,
            "logs": [],
        }

    def reload(
        self,
        wait_drained: bool,
        force: bool,
        done: Callable[[dict[str, Any], bool], None],
        _refuse: Callable[[str], None],
        exec_reload: bool = False,
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
        self.server = server.Server(self.loop, str(directory), self.service)
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


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    bench = Bench(folder)
    yield bench
    bench.close()


def test_the_socket_is_private_and_goes_away(folder: Path) -> None:
    path = folder / "control"
    # The socket file of a supervisor that was killed.
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    before = os.umask(0)
    try:
        bench = Bench(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert bench.peer().ask("Status").parameters["status"]["name"] == "app"
    bench.close()
    assert not path.exists()


def test_a_directory_with_too_long_a_path(folder: Path) -> None:
    loop = Loop()
    with pytest.raises(paths.RuntimeDirError, match="cannot listen on"):
        server.Server(loop, str(folder / "absent"), FakeService(lambda: None))
    loop.close()


def test_the_outcome_of_a_reload_comes_when_it_is_known(bench: Bench) -> None:
    good, bad = bench.peer(), bench.peer()
    good.call("Reload")
    bad.call("Reload", wait_drained=True)
    bench.turn(3)
    assert [wait for wait, _ in bench.service.reloads] == [False, True]
    bench.service.reloads[0][1](HANDOVER, True)
    bench.service.reloads[1][1](FAILED, False)
    bench.wait(lambda: bool(good.replies and bad.replies))
    assert good.replies == [varlink.Reply({"handover": HANDOVER})]
    assert bad.replies == [varlink.Reply({"handover": FAILED}, error=interface.RELOAD_FAILED)]
    # There is only one answer.
    bench.service.reloads[0][1](HANDOVER, True)
    assert good.ask("Status").error is None
    assert len(good.replies) == 2
    assert bench.service.cancelled == []


def test_a_reload_that_is_refused(bench: Bench) -> None:
    bench.service.refusal = varlink.Refused(interface.STOPPING)
    peer = bench.peer()
    assert peer.ask("Reload") == varlink.Reply({}, error=interface.STOPPING)
    assert peer.ask("Status").error is None


def test_a_client_that_leaves_cancels_only_its_own_call(bench: Bench) -> None:
    leaving, staying = bench.peer(), bench.peer()
    leaving.call("Reload")
    staying.call("Reload")
    bench.turn(3)
    leaving.close()
    bench.turn(2)
    assert bench.service.cancelled == [0]
    for _, done in bench.service.reloads:
        done(HANDOVER, True)
    bench.wait(lambda: bool(staying.replies))
    assert bench.service.cancelled == [0]


def test_a_stop_is_answered_before_the_socket_closes(bench: Bench) -> None:
    peer = bench.peer()
    peer.call("Stop", now=True)
    bench.turn(3)
    [(now, done)] = bench.service.stops
    assert now
    done()
    bench.server.close()
    bench.wait(lambda: peer.ended)
    assert peer.replies == [varlink.Reply({})]


def test_nothing_is_told_after_the_end(bench: Bench) -> None:
    waiting, watching = bench.peer(), bench.peer()
    waiting.call("Reload")
    watching.call("Status", more=True)
    bench.turn(3)
    bench.server.changed()
    bench.server.flush()
    bench.server.close()
    bench.service.reloads[0][1](HANDOVER, True)
    bench.server.changed()
    bench.wait(lambda: waiting.ended and watching.ended)
    assert waiting.replies == []
    assert len(watching.replies) == 2
    assert bench.service.cancelled == []
    assert bench.idle()


def test_subscribers_see_each_change_and_each_second(bench: Bench) -> None:
    peers = [bench.peer(), bench.peer()]
    for peer in peers:
        peer.call("Status", more=True)
    bench.wait(lambda: all(peer.replies for peer in peers))
    assert all(peer.replies[0].continues for peer in peers)
    asked = bench.service.asked
    bench.server.changed()
    bench.server.changed()
    bench.wait(lambda: all(len(peer.replies) == 2 for peer in peers))
    assert bench.service.asked == asked + 1
    started = time.monotonic()
    bench.wait(lambda: all(len(peer.replies) == 3 for peer in peers))
    assert 0.5 < time.monotonic() - started < 5
    peers[0].close()
    bench.turn(2)
    assert not bench.idle()
    peers[1].close()
    bench.turn(2)
    assert bench.idle()
    bench.server.changed()
    assert bench.idle()


def test_pipelined_calls_are_answered_in_order(bench: Bench) -> None:
    peer = bench.peer()
    names = ["Status", "Other", "Reload", "Nothing", "Status"]
    for name in names:
        peer.call(name)
    bench.wait(lambda: len(peer.replies) == 2)
    # The fourth call waits for the third.
    bench.turn(3)
    assert len(peer.replies) == 2
    bench.service.reloads[0][1](HANDOVER, True)
    bench.wait(lambda: len(peer.replies) == len(names))
    assert peer.replies[1].parameters == {"method": f"{varlink.INTERFACE}.Other"}
    assert "handover" in peer.replies[2].parameters
    assert peer.replies[3].error == varlink.METHOD_NOT_FOUND
    assert peer.replies[4].error is None


def test_a_half_closed_client_gets_its_answers(bench: Bench) -> None:
    peer = bench.peer()
    peer.call("Status")
    peer.call("Status")
    peer.socket.shutdown(socket.SHUT_WR)
    bench.wait(lambda: peer.ended)
    assert len(peer.replies) == 2


def test_a_stop_whose_caller_leaves(bench: Bench) -> None:
    """The stop goes on, and nobody waits for it any more."""
    peer = bench.peer()
    peer.call("Stop")
    bench.turn(3)
    assert len(bench.service.stops) == 1
    peer.close()
    bench.turn(2)
    assert bench.service.stops == []


def test_one_way_calls_have_no_answer(bench: Bench) -> None:
    peer = bench.peer()
    peer.call("Reload", oneway=True)
    peer.call("Other", oneway=True)
    assert peer.ask("Status").error is None
    assert len(peer.replies) == 1
    # Nobody waits for its end: whoever queues such calls keeps nothing in the supervisor.
    assert bench.service.cancelled == [0]
    bench.service.reloads[0][1](HANDOVER, True)
    peer.close()
    bench.turn(2)
    assert len(peer.replies) == 1
    assert bench.service.cancelled == [0]
