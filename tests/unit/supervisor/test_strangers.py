"""What other processes send to the supervisor's sockets ends nothing."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import procfs
from sockact.supervisor.generations.notify_socket import NotifySocket
from sockact.supervisor.processes.hidden_sockets import HiddenSockets
from sockact.supervisor.processes.shim_calls import ShimCalls
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address
    from sockact.supervisor.base.loop import Loop, Timer

_SAY = """
import socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.sendto(b"READY=1", "\\0" + sys.argv[1][1:])
sys.stdout.write("sent")
sys.stdout.flush()
sys.stdin.read()
"""


def _turn(loop: Loop) -> None:
    loop.at(time.monotonic(), loop.stop)
    loop.run()


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EPERM, "Operation not permitted"),
        procfs.Unavailable(errno.EMFILE, "Too many open files"),
    ],
)
@pytest.mark.parametrize("ended", [False, True])
def test_ready_of_a_process_that_cannot_be_seen(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, error: OSError, ended: bool
) -> None:
    """hidepid= hides it, or no descriptor is left. It counts only if it has ended."""
    told: list[str] = []

    def refuse(_pid: int) -> bool:
        raise error

    found = NotifySocket(
        loop,
        f"sockact-test-{os.getpid()}",
        HiddenSockets("/nonexistent", made=False),
        refuse,
        lambda: [os.getpid()],
        lambda: told.append("ready"),
        lambda: told.append("refused"),
    )

    monkeypatch.setattr(procfs, "lives", refuse)
    command = [sys.executable, "-I", "-c", _SAY, found.address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.read(4) == b"sent"
        if ended:
            process.communicate()
        _turn(loop)
        process.communicate()
    assert told == ["ready" if ended else "refused"]
    found.close()


class _Shims:
    """The supervisor's side, and a shim's."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.asked: list[Address] = []
        address = f"sockact-test-{os.getpid()}"
        self.calls = ShimCalls(loop, address, lambda _pid: 1, self._bind, lambda *_: None)
        self.shim = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.shim.connect("\0" + address)

    def _bind(self, _generation: int, wanted: Address, _pid: int, _own: int | None) -> None:
        self.asked.append(wanted)

    def ask(self, words: str) -> str:
        self.shim.send(words.encode())
        _turn(self.loop)
        _turn(self.loop)
        assert wait.readable(self.shim.fileno())
        return self.shim.recv(4096).decode()

    def close(self) -> None:
        self.shim.close()
        self.calls.close()


@pytest.mark.parametrize("port", ["9" * 4000, "-1", "65536", "1_0", "\u0663", "x", ""])
def test_port_that_is_none(loop: Loop, port: str) -> None:
    shims = _Shims(loop)
    assert shims.ask(f"bind 1 inet stream 127.0.0.1 {port}").startswith("refuse 22 ")
    assert shims.asked == []
    shims.close()


def test_port(loop: Loop) -> None:
    shims = _Shims(loop)
    assert shims.ask("bind 1 inet stream 127.0.0.1 65535") == "pass"
    assert [one.port for one in shims.asked] == [65535]
    shims.close()


def test_silent_shims_leave_room_for_a_successor(loop: Loop) -> None:
    """One process of a generation connects again and again, and says nothing."""
    address, generations = f"sockact-test-{os.getpid()}", 70 * [1] + [2] + 70 * [1]
    calls = ShimCalls(
        loop, address, lambda _pid: generations.pop(0), lambda *_: None, lambda *_: None
    )
    shims = []
    for _ in range(len(generations)):
        shims.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        shims[-1].connect("\0" + address)
        _turn(loop)
    assert not generations
    shims[70].send(b"bind 2 inet stream 127.0.0.1 80")
    _turn(loop)
    assert wait.readable(shims[70].fileno())
    assert shims[70].recv(4096) == b"pass"
    for shim in shims:
        shim.close()
    calls.close()


def _record_patience(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    """The timers that end conversations, as they are made."""
    made: list[Timer] = []
    real = loop.at

    def at(when: float, callback: Callable[[], None]) -> Timer:
        timer = real(when, callback)
        if getattr(callback, "__name__", "") == "_timed_out":
            made.append(timer)
        return timer

    monkeypatch.setattr(loop, "at", at)
    return made


def test_each_order_has_the_whole_patience(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long those before it have taken."""
    timers = _record_patience(loop, monkeypatch)
    shims, done = _Shims(loop), list[str]()
    _turn(loop)
    _turn(loop)
    (first,) = timers
    for order in ("first", "second"):
        shims.calls.order(os.getpid(), order, done.append)
    assert shims.ask("hello 1 3.11") == "first"
    assert shims.ask("done first") == "second"
    assert first.callback is None
    assert timers[-1].when > first.when
    assert timers[-1].callback
    assert done == [""]
    shims.close()


def test_a_shim_cannot_prolong_an_order(loop: Loop) -> None:
    """By a hello in place of the answer."""
    shims, done = _Shims(loop), list[str]()
    _turn(loop)
    _turn(loop)
    shims.calls.order(os.getpid(), "first", done.append)
    assert shims.ask("hello 1 3.11") == "first"
    assert shims.ask("hello 1 3.11") == ""
    assert len(done) == 1
    assert done[0]
    shims.close()
