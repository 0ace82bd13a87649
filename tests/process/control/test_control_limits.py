"""The control server with bad clients: wrong, greedy, not reading, foreign, too many."""

from __future__ import annotations

import contextlib
import os
import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sockact.supervisor.control import endpoint, interface, server, varlink
from tests.process.control.bench import HANDOVER, Bench, Peer


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
def test_random_bytes_do_no_harm(bench: Bench, chunks: list[bytes]) -> None:
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


def test_another_user_is_refused(bench: Bench) -> None:
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


def test_one_too_many_takes_the_place_of_the_oldest_idle_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_YOUNG_SECONDS", 0.0)
    busy = bench.peer()
    busy.call("Reload")
    idle = [bench.peer() for _ in range(endpoint.CONNECTIONS_LIMIT - 1)]
    bench.turn(endpoint.CONNECTIONS_LIMIT)
    assert bench.peer().ask("Status").error is None
    bench.wait(lambda: idle[0].ended)
    assert [reply.error for reply in idle[0].replies] == [interface.TOO_MANY_CONNECTIONS]
    assert not any(peer.ended for peer in [busy, *idle[1:]])


def test_a_young_connection_may_still_ask(bench: Bench) -> None:
    idle = [bench.peer() for _ in range(endpoint.CONNECTIONS_LIMIT)]
    bench.turn(endpoint.CONNECTIONS_LIMIT)
    late = bench.peer()
    bench.wait(lambda: late.ended)
    assert [reply.error for reply in late.replies] == [interface.TOO_MANY_CONNECTIONS]
    assert not any(peer.ended for peer in idle)
    assert idle[0].ask("Status").error is None


def test_one_too_many_is_told_when_all_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_YOUNG_SECONDS", 0.0)
    for _ in range(endpoint.CONNECTIONS_LIMIT):
        bench.peer().call("Reload")
        bench.turn(3)
    late = bench.peer()
    bench.wait(lambda: late.ended)
    assert [reply.error for reply in late.replies] == [interface.TOO_MANY_CONNECTIONS]
    bench.service.reloads[0][1](HANDOVER, True)
    assert bench.peer().ask("Status").error is None


def test_without_descriptors_it_tries_again_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_RETRY_SECONDS", 0.05)
    peer = bench.peer()
    peer.call("Status")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Every fd number below the socket's is in use; otherwise the refusal would not be seen.
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
