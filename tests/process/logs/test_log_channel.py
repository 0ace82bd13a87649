"""Messages between the supervisor and its log pump when descriptors run short."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.logs import pump
from sockact.supervisor.logs.channel import Channel
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield one, other
    one.close()
    other.close()


def test_a_descriptor_that_cannot_be_sent_now_is_sent_later(
    ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ends

    def fails(*_arguments: object) -> int:
        raise OSError(errno.ETOOMANYREFS, "too many are on their way")

    with open("/dev/null", "rb") as file:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "send_fds", fails)
            ours.tell({"add": 1, "log": 0}, file.fileno())
            assert (ours.crowded, ours.stuck) == (True, True)
            assert not ours.flush()
        assert ours.flush()
    assert (ours.crowded, ours.stuck) == (False, False)
    ((message, fd),) = theirs.heard()
    assert message == {"add": 1, "log": 0}
    assert fd is not None
    os.close(fd)


def test_a_pipe_that_did_not_arrive_is_asked_for(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        pid = pump.fork(theirs, (str(log),))
    channel = Channel(ours)
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    channel.tell({"add": 1, "log": 0})
    assert select.select([ours], [], [], wait.TIMEOUT)[0]
    assert [message for message, _fd in channel.heard()] == [{"missing": 1}]
    # All are sent again, also those that it has.
    for _ in range(2):
        channel.tell({"add": 1, "log": 0}, reader)
    os.write(writer, b"a line\n")
    wait.until(lambda: log.exists() and log.read_bytes() == b"a line\n", "the line")
    channel.tell({"count": 1})
    assert select.select([ours], [], [], wait.TIMEOUT)[0]
    assert {"counted": 1, "lines": 1} in [message for message, _fd in channel.heard()]
    os.close(writer)
    channel.tell({"end": True})
    assert os.waitpid(pid, 0)[1] == 0
    channel.close()
    os.close(reader)


STATE = {"state": 0, "dropped_lines": 1, "dropped_bytes": 9, "waiting_bytes": 0, "error": ""}
NONE = (
    *(b"\xff", b"[" * 100_000, b"9" * 5000, b"[]", b'"key"', b"{}", b'{"add": 1}', b'{"log": 0}'),
    *(json.dumps({**STATE, name: []}).encode() for name in STATE),
    *(b'{"key": 1, "tail": 5, "ended": true}', b'{"missing": {}}', b'{"reopened": 1}'),
    *(b'{"add": -1, "log": 0}', b'{"add": 1e9, "log": 0}', b'{"add": true, "log": 0}'),
)


def test_packets_that_are_no_messages_are_left_out(ends: tuple[Channel, Channel]) -> None:
    """Nor are descriptors kept that come with them."""
    ours, theirs = ends
    with socket.socket(fileno=os.dup(ours.fileno())) as sock, open("/dev/null", "rb") as file:
        for packet in NONE:
            socket.send_fds(sock, [packet], [file.fileno(), file.fileno()])
        ours.tell({**STATE, "newer": 1})
        assert [*theirs.heard()] == [(STATE, None)]


def reopened(channel: Channel, number: int) -> None:
    """Let the log pump answer: it has dealt with everything before."""
    channel.tell({"reopen": number})
    told: list[object] = []
    while {"reopened": number, "error": ""} not in told:
        assert select.select([channel], [], [], wait.TIMEOUT)[0]
        told += [message for message, _fd in channel.heard()]


def test_the_log_pump_ignores_what_it_cannot_use(tmp_path: Path) -> None:
    """A log that it does not have, a descriptor that is no pipe, or one that it did not ask for."""
    log = tmp_path / "app.log"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        pid = pump.fork(theirs, (str(log),))
    channel = Channel(ours)
    with open("/dev/null", "rb") as file:
        reopened(channel, 6)
        before = len(os.listdir(f"/proc/{pid}/fd"))
        for packet in NONE:
            socket.send_fds(ours, [packet], [file.fileno()])
        channel.tell({"add": 1, "log": 0}, file.fileno())
        channel.tell({"add": 1, "log": 5}, file.fileno())
        channel.tell({"tail": 1}, file.fileno())
    reopened(channel, 7)
    assert len(os.listdir(f"/proc/{pid}/fd")) == before
    channel.tell({"end": True})
    assert os.waitpid(pid, 0)[1] == 0
    channel.close()
