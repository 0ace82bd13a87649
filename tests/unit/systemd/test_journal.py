"""The journal's native protocol, read by the other end."""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.systemd import journal
from sockact.systemd.journal import MESSAGE_IDS, Journal, encode
from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = ROOT / "docs" / "journal.md"


def decode(data: bytes) -> dict[str, str]:
    """The fields of a datagram."""
    found = {}
    while data:
        name, end, rest = data.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
            data = rest
        else:
            (length,) = struct.unpack_from("<Q", rest)
            value, data = rest[8 : 8 + length], rest[8 + length + 1 :]
        assert end
        found[name.decode()] = value.decode()
    return found


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "journal"))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def reporter(
    journald: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[report.Reporter, int]]:
    """A reporter whose stderr is a journal stream, and the other end of the stream."""
    ours, theirs = os.pipe2(os.O_NONBLOCK)
    found = os.fstat(theirs)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    monkeypatch.setattr(report, "_journal", lambda: Journal(journald.getsockname()))
    one = report.Reporter("web", theirs)
    yield one, ours
    one.close()
    os.close(ours)
    os.close(theirs)


def test_fields() -> None:
    assert encode("MESSAGE", "plain ü") == "MESSAGE=plain ü\n".encode()
    assert decode(encode("MESSAGE", "two\nlines") + encode("PRIORITY", "3")) == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "3",
    }
    assert len(encode("MESSAGE", "x" * 100_000)) < 9000
    assert encode("MESSAGE", "\udcff") == b"MESSAGE=\\udcff\n"


def test_a_line_of_a_generation(
    reporter: tuple[report.Reporter, int], journald: socket.socket
) -> None:
    reporter[0].say("reload failed:\nwhy", report.ERROR, 3, News.RELOAD_FAILED)
    assert decode(journald.recv(1 << 16)) == {
        "MESSAGE": "generation 3: reload failed: why",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "sockact",
        "SOCKACT_SERVICE": "web",
        "SOCKACT_EVENT": "reload_failed",
        "SOCKACT_GENERATION": "3",
        "MESSAGE_ID": MESSAGE_IDS[News.RELOAD_FAILED],
    }


def test_a_journal_that_does_not_read(
    reporter: tuple[report.Reporter, int], journald: socket.socket
) -> None:
    """Nothing blocks: the line goes to the stream."""
    one, stream = reporter
    for number in range(10_000):
        one.say(f"line {number}")
    lines = os.read(stream, 1 << 20).splitlines()
    assert lines[0].startswith(b"<6>line ")
    taken = 0
    while True:
        try:
            journald.recv(1 << 16)
        except BlockingIOError:
            break
        taken += 1
    assert taken
    one.say("after")
    fields = decode(journald.recv(1 << 16))
    assert fields["MESSAGE"].startswith("after (")
    assert fields["MESSAGE"].endswith(" earlier messages were lost)")


def test_where_there_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(str(tmp_path / "none"))
    assert not journal.is_journal(2, {"JOURNAL_STREAM": "1:2"})


def test_every_kind_has_its_id_and_is_documented() -> None:
    assert set(MESSAGE_IDS) == set(News) - {News.NOTE}
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    text = DOCS.read_text()
    for kind in News:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{kind.value}` ")]
        assert MESSAGE_IDS.get(kind, "") in row
