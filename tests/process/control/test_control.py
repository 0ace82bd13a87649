"""The control server on a real loop with real sockets, for good and bad clients."""

from __future__ import annotations

import os
import socket
import stat
import time
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.control import endpoint, interface, paths, varlink
from tests.process.control.bench import FAILED, HANDOVER, Bench

if TYPE_CHECKING:
    from pathlib import Path


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
    with pytest.raises(paths.RuntimeDirError, match="cannot listen on"):
        endpoint.listen(str(folder / "absent" / "control"))


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
