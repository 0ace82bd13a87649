"""The control server on a real loop with real sockets, for clients good and bad."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import varlink as pypi_varlink  # type: ignore[import-untyped, unused-ignore]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockact.supervisor import client, control, paths, varlink
from sockact.supervisor.loop import READ, Loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

DEADLINE = 10.0
HANDOVER: dict[str, Any] = {
    "id": 2,
    "outcome": "committed",
    "from": 1,
    "to": 2,
    "reason": "",
    "stderr": [],
    "requested_usec": 1_700_000_000_000_000,
    "duration_seconds": 0.412,
    "drained": False,
}
FAILED = {
    **HANDOVER,
    "outcome": "failed",
    "reason": "exited with 1 before it was ready",
    "stderr": ["Traceback", "ImportError: \x1b[31mapp"],
}


class FakeService:
    """A service that remembers what it was asked, and tells; the test says when it is done."""

    def __init__(self, event: Callable[[], None]) -> None:
        self._event = event
        self.generations: list[dict[str, Any]] = []
        self.asked = 0
        self.padding = ""
        self.refusal: control.Refused | None = None
        self.at_once: tuple[dict[str, Any], bool] | None = None
        self.reloads: list[tuple[bool, Callable[[dict[str, Any], bool], None]]] = []
        self.cancelled: list[int] = []
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
        }

    def reload(
        self, wait_drained: bool, done: Callable[[dict[str, Any], bool], None]
    ) -> Callable[[], None]:
        if self.refusal:
            raise self.refusal
        number = len(self.reloads)
        self.reloads.append((wait_drained, done))
        self._event()
        if self.at_once:
            done(*self.at_once)
        return lambda: self.cancelled.append(number)

    def stop(self, now: bool, done: Callable[[], None]) -> None:
        self.stops.append((now, done))
        self._event()


class Bench:
    """A server on a loop that turns only while the test waits for something."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "control"
        self.service = FakeService(self.event)
        self.loop = Loop()
        self.server = control.Server(self.loop, str(directory), self.service)
        self.peers: list[Peer] = []
        self._condition: Callable[[], bool] = lambda: True

    def wait(self, condition: Callable[[], bool]) -> None:
        """Turn the loop until the condition holds after one of its events."""
        if condition():
            return
        self._condition = condition
        late = self.loop.at(time.monotonic() + DEADLINE, self._too_late)
        self.loop.run()
        late.cancel()

    def turn(self, times: int = 1) -> None:
        """Handle what is ready now, without waiting."""
        for _ in range(times):
            self.loop.at(time.monotonic(), self.loop.stop)
            self.loop.run()

    def event(self) -> None:
        if self._condition():
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
    # What a supervisor that was killed leaves.
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


def test_a_directory_that_cannot_have_it(folder: Path) -> None:
    loop = Loop()
    with pytest.raises(paths.RuntimeDirError, match="cannot listen on"):
        control.Server(loop, str(folder / "absent"), FakeService(lambda: None))
    loop.close()


def test_an_independent_client_understands_us(bench: Bench) -> None:
    bench.service.at_once = (HANDOVER, True)

    def work() -> None:
        with pypi_varlink.Client(f"unix:{bench.path}") as service:
            assert list(service.get_interfaces()) == [varlink.SERVICE, varlink.INTERFACE]
            with service.open(varlink.SERVICE) as connection:
                assert connection.GetInfo()["product"] == "sockact"
            with service.open(varlink.INTERFACE) as connection:
                assert connection.Status()["status"] == bench.service.status()
                assert connection.Reload(wait_drained=True) == {"handover": HANDOVER}
                first = next(connection.Status(_more=True))
                assert first["status"]["name"] == "app"

    bench.meanwhile(work)


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
    assert bad.replies == [varlink.Reply({"handover": FAILED}, error=control.RELOAD_FAILED)]
    # Answered is answered.
    bench.service.reloads[0][1](HANDOVER, True)
    assert good.ask("Status").error is None
    assert len(good.replies) == 2
    assert bench.service.cancelled == []


def test_a_reload_that_is_refused(bench: Bench) -> None:
    bench.service.refusal = control.Refused(control.STOPPING)
    peer = bench.peer()
    assert peer.ask("Reload") == varlink.Reply({}, error=control.STOPPING)
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


def test_a_client_that_does_not_read_is_dropped(bench: Bench) -> None:
    bench.service.padding = "x" * 100_000
    deaf = Peer(bench, reads=False)
    deaf.call("Status", more=True)
    bench.turn(3)
    for _ in range(100):
        bench.server.changed()
        bench.turn(2)
        if bench.idle():
            break
    assert bench.idle()
    assert bench.peer().ask("Status").error is None


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


def test_many_pipelined_calls_take_turns(bench: Bench) -> None:
    greedy, modest = bench.peer(), bench.peer()
    call = varlink.encode_call(varlink.Call(f"{varlink.INTERFACE}.Status", {}))
    greedy.send(call * 500)
    modest.send(call)
    bench.wait(lambda: bool(modest.replies))
    assert len(greedy.replies) < 10
    bench.wait(lambda: len(greedy.replies) == 500)


def test_calls_without_end_behind_one_that_waits(bench: Bench) -> None:
    peer = bench.peer()
    peer.call("Reload")
    bench.turn(3)
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        while not peer.ended:
            peer.send(b"{}\0" * 10_000)
            bench.turn()
    bench.wait(lambda: peer.ended)
    assert bench.service.cancelled == [0]


def test_a_half_closed_client_gets_its_answers(bench: Bench) -> None:
    peer = bench.peer()
    peer.call("Status")
    peer.call("Status")
    peer.socket.shutdown(socket.SHUT_WR)
    bench.wait(lambda: peer.ended)
    assert len(peer.replies) == 2


def test_one_way_calls_have_no_answer(bench: Bench) -> None:
    peer = bench.peer()
    peer.call("Reload", oneway=True)
    peer.call("Other", oneway=True)
    assert peer.ask("Status").error is None
    assert len(peer.replies) == 1
    bench.service.reloads[0][1](HANDOVER, True)
    peer.close()
    bench.turn(2)
    assert bench.service.cancelled == []


@pytest.mark.parametrize(
    ("method", "parameters", "error"),
    [
        ("Other", {}, varlink.METHOD_NOT_FOUND),
        ("org.varlink.service.Other", {}, varlink.METHOD_NOT_FOUND),
        ("org.example.Status", {}, varlink.INTERFACE_NOT_FOUND),
        ("Status", {"x": 1}, varlink.INVALID_PARAMETER),
        ("Reload", {"wait_drained": 1}, varlink.INVALID_PARAMETER),
        ("Reload", {"wait-drained": True}, varlink.INVALID_PARAMETER),
        ("Stop", {"now": "yes"}, varlink.INVALID_PARAMETER),
    ],
)
def test_wrong_calls_fail_alone(
    bench: Bench, method: str, parameters: dict[str, object], error: str
) -> None:
    peer = bench.peer()
    assert peer.ask(method, **parameters).error == error
    assert peer.ask("Status").error is None
    assert bench.service.reloads == []
    assert bench.service.stops == []


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\0" * 60_000,
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"\xff" * 100 + b"\0",
        b"[" * 60_000 + b"\0",
        b'{"method":' + b"9" * 60_000 + b"}\0",
        b'{"method":"Status"}\0',
        b'{"method":"org.sockact.Service.Status","more":2}\0',
        b"x" * (varlink.LIMIT + 1),
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_no_call_closes_the_connection(bench: Bench, data: bytes) -> None:
    peer = bench.peer()
    peer.send(data)
    bench.wait(lambda: peer.ended)
    assert [reply.error for reply in peer.replies] == [varlink.INVALID_MESSAGE]
    assert bench.peer().ask("Status").error is None


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.binary(max_size=200)
        | st.sampled_from(
            [
                b'{"method":"org.sockact.Service.Status"}\0',
                b'{"method":"org.sockact.Service.Status","more":true}\0',
                b'{"method":"org.sockact.Service.Reload"}\0',
                b'{"method":"org.varlink.service.GetInfo"}\0',
                b"{",
                b"\0",
            ]
        ),
        max_size=8,
    )
)
def test_no_bytes_disturb_it(bench: Bench, chunks: list[bytes]) -> None:
    rude = bench.peer()
    for chunk in chunks:
        with contextlib.suppress(BrokenPipeError):
            rude.send(chunk)
        bench.turn()
    rude.close()
    good = bench.peer()
    assert good.ask("Status").error is None
    good.close()
    bench.turn(3)
    assert bench.idle()


def test_another_user_is_turned_away(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can call as somebody else")
    bench.path.chmod(0o666)
    # The kernel notes who connects.
    os.seteuid(65534)
    try:
        peer = bench.peer()
    finally:
        os.seteuid(0)
    bench.wait(lambda: peer.ended)
    assert [reply.error for reply in peer.replies] == [varlink.PERMISSION_DENIED]


def test_one_too_many_takes_the_place_of_the_oldest_idle_one(bench: Bench) -> None:
    busy = bench.peer()
    busy.call("Reload")
    idle = [bench.peer() for _ in range(control.CONNECTIONS_LIMIT - 1)]
    bench.turn(control.CONNECTIONS_LIMIT)
    assert bench.peer().ask("Status").error is None
    bench.wait(lambda: idle[0].ended)
    assert not any(peer.ended for peer in [busy, *idle[1:]])


def test_one_too_many_is_told_when_all_wait(bench: Bench) -> None:
    for _ in range(control.CONNECTIONS_LIMIT):
        bench.peer().call("Reload")
        bench.turn(3)
    late = bench.peer()
    bench.wait(lambda: late.ended)
    assert [reply.error for reply in late.replies] == [control.TOO_MANY_CONNECTIONS]
    bench.service.reloads[0][1](HANDOVER, True)
    assert bench.peer().ask("Status").error is None


def test_without_descriptors_it_tries_again_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_RETRY_SECONDS", 0.05)
    peer = bench.peer()
    peer.call("Status")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Every number below the socket's is taken, or this test would not see the refusal.
    resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free(), limits[1]))
    try:
        bench.turn(2)
        assert not bench.idle()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    bench.wait(lambda: bool(peer.replies))
    assert bench.idle()


def _lowest_free() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd


def test_the_client_explains_what_went_wrong(bench: Bench, folder: Path) -> None:
    with pytest.raises(client.NotRunning) as not_running:
        client.Client(str(folder / "absent"))
    assert not_running.value.directory == str(folder / "absent")

    def wrong_call() -> None:
        with client.Client(str(folder)) as connection:
            connection.call("Other")

    with pytest.raises(client.RemoteError) as remote:
        bench.meanwhile(wrong_call)
    assert remote.value.name == varlink.METHOD_NOT_FOUND

    def call_in_vain() -> None:
        with client.Client(str(folder)) as connection:
            connection.call("Reload", timeout=0.05)

    with pytest.raises(client.Timeout, match=r"0\.05 s"):
        bench.meanwhile(call_in_vain)


def test_the_client_notices_the_end(bench: Bench, folder: Path) -> None:
    with client.Client(str(folder), timeout=1) as connection:
        connection.send("Reload")
        bench.turn(3)
        bench.server.close()
        with pytest.raises(client.Disconnected):
            connection.receive(timeout=5)
    (folder / "control").touch()
    with pytest.raises(client.NotRunning):
        client.Client(str(folder))


def test_the_client_watches(bench: Bench, folder: Path) -> None:
    def work() -> list[str]:
        with client.Client(str(folder)) as connection:
            replies = connection.call_more("Status", timeout=5)
            return [next(replies)["status"]["name"] for _ in range(2)]

    assert bench.meanwhile(work) == ["app", "app"]


def test_the_client_copes_with_another_kind_of_server(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control"))
        listener.listen()
        with client.Client(str(folder)) as connection:
            other = listener.accept()[0]
            with other:
                other.send(b"220 mail\r\n\0")
                with pytest.raises(client.ControlError, match="no sockact supervisor"):
                    connection.receive(timeout=5)
