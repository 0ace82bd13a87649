"""How a drain is counted: when the supervisor looks, and when a drain is settled."""

from __future__ import annotations

import errno
import os
import socket
import time

import pytest

from sockact.core.connections import PATIENCE, UNANNOUNCED
from sockact.core.lifecycle.model import Policy
from sockact.handover import census, gate
from sockact.handover.gate import at_rest
from sockact.kernel import procfs
from sockact.kernel.sockets.tcp_destroy import Destroyed
from tests.process.drain.counted import Serving, server, serving
from tests.support import wait

__all__ = ["server"]  # fixtures


def test_one_busy_connection_is_witness_enough(server: Serving) -> None:
    for _ in range(20):
        server.connect(b"wait")
    drain = server.drain()
    for _ in range(50):
        assert drain.count().busy
    assert drain.counting.full_counts == 1


def test_another_connection_becomes_the_witness(server: Serving) -> None:
    for _ in range(20):
        server.connect(b"wait")
    drain = server.drain()
    assert drain.count().busy
    survivor = server.clients.pop(7)
    while server.clients:
        server.clients.pop().close()
    wait.until(lambda: server.open() == 1, "the others to end")
    assert drain.count().busy
    assert drain.counting.full_counts == 1
    survivor.close()
    assert drain.wait_settled()


def test_the_end_of_the_last_connection_is_announced(server: Serving) -> None:
    client = server.connect(b"wait")
    drain = server.drain()
    look_in = drain.count().look_in
    assert look_in is not None
    assert look_in > UNANNOUNCED
    client.close()
    drain.wait_announced()
    assert drain.wait_settled().quiet == 0
    assert not drain.counting._drains[1].witnesses


def test_other_connections_are_not_announced(server: Serving) -> None:
    """The successor's connections, on the same port."""
    client = server.connect(b"wait")
    drain = server.drain()
    assert drain.count().busy
    listener = server.listener
    for _ in range(50):
        with socket.create_connection(listener.getsockname()), listener.accept()[0]:
            pass
    client.close()
    drain.wait_announced()
    assert len(drain.announced) == 1


def test_a_witness_that_cannot_be_announced_is_looked_at_often(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_self: Destroyed, _family: int) -> None:
        raise PermissionError

    monkeypatch.setattr(Destroyed, "__init__", refused)
    server.connect(b"wait")
    drain = server.drain()
    assert drain.count().look_in == UNANNOUNCED
    assert drain.counting.full_counts == 1
    server.clients.pop().close()
    assert drain.wait_settled()


def test_where_the_loop_has_no_room_for_it_a_witness_is_looked_at_often(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's limit of epoll entries for each user (epoll(7), max_user_watches)."""
    server.connect(b"wait")
    drain = server.drain()
    with monkeypatch.context() as patch:
        patch.setattr(drain.loop, "watch", full)
        for _ in range(2):
            assert drain.count().look_in == UNANNOUNCED
    look_in = drain.count().look_in
    assert look_in is not None
    assert look_in > UNANNOUNCED, "it is tried again"
    server.clients.pop().close()
    drain.wait_announced()


def full(*_watch: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_unix_connections_are_looked_at_often(folder: object) -> None:
    with serving(socket.AF_UNIX, f"{folder}/s") as server:
        client = server.connect()
        drain = server.drain()
        for _ in range(20):
            found = drain.count()
            assert (found.busy, found.look_in) == (1, UNANNOUNCED)
        assert drain.counting.full_counts == 1
        client.close()
        assert drain.wait_settled()


def test_full_counts_use_a_bounded_share_of_a_core(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that end as soon as they are found do not cause constant counting."""
    monkeypatch.setattr(census.Witness, "look", lambda _self, _rules: None)
    server.connect(b"wait")
    drain = server.drain()
    for _ in range(3):
        spent = time.process_time()
        found = drain.count()
        spent = time.process_time() - spent
        assert found.busy
    assert drain.counting.full_counts == 1
    assert found.look_in


def test_an_idle_generation_stays_idle_however_expensive_a_count_is(server: Serving) -> None:
    """Two idle counts in a row end a drain whose gate cannot be moved."""
    server.connect().close()
    wait.until(lambda: not server.open(), "the server to close it")
    drain = server.drain(closed=False, policy=Policy(census_share=0.01))
    wait.until(lambda: at_rest(server.process.pid, set()), "it to be at rest")
    found = drain.wait_idle()
    for _ in range(3):
        found = drain.count_when_due(found)
        assert not found.busy
        assert not found.settled


def test_a_stopped_process_has_not_come_to_rest(server: Serving) -> None:
    """It may have been told of a connection before its gate closed."""
    server.stop()
    drain = server.drain()
    assert not drain.count().settled
    assert drain.count().busy
    server.go_on()
    assert drain.wait_settled()


def test_rest_before_the_gate_closed_says_nothing(server: Serving) -> None:
    server.connect().close()
    wait.until(lambda: not server.open(), "the server to close it")
    drain = server.drain(closed=False)
    drain.wait_idle()
    wait.until(lambda: at_rest(server.process.pid, set()), "it to be at rest")
    drain.wait_idle()
    server.stop()
    drain.close_gate()
    assert drain.count().busy
    server.go_on()
    assert drain.wait_settled()


@pytest.mark.slow
def test_waiting_for_rest_is_bounded(server: Serving) -> None:
    server.stop()
    drain = server.drain()
    began = time.monotonic()
    drain.count()
    assert drain.count().busy
    assert not drain.wait_idle().settled
    assert time.monotonic() - began >= PATIENCE
    server.go_on()


def test_an_open_gate_is_never_settled(server: Serving) -> None:
    drain = server.drain(closed=False)
    for _ in range(5):
        assert not drain.wait_idle().settled


@pytest.mark.parametrize(
    "error", [procfs.Unavailable(11, "later"), gate.GateRefused("epoll_ctl: later")]
)
def test_a_drain_is_not_over_while_it_is_unknown_who_accepts_again(
    server: Serving, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    server.connect().close()
    wait.until(lambda: not server.open(), "the server to close it")
    drain = server.drain()
    with monkeypatch.context() as patched:
        patched.setattr(gate, "entries_in", fail)
        found = drain.count()
        for _ in range(3):
            assert found.busy
            found = drain.count_when_due(found)
        assert drain.said == [
            f"cannot tell whether it accepts connections again ({error}); retrying"
        ]
    assert drain.wait_settled()
