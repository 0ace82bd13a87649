"""A stream of a generation's own into the journal, read by the other end."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.generations.outputs import Outputs
from sockact.supervisor.logs.pipes import WriteEnds
from sockact.systemd import journal_stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sockact.supervisor.base.loop import Loop

HEAD = b"web-2\n\n6\n1\n0\n0\n0\n"


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The journal's socket that accepts the streams."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(tmp_path / "stdout"))
        sock.listen()
        sock.settimeout(5.0)
        path = sock.getsockname()
        plain = journal_stream.connect
        monkeypatch.setattr(journal_stream, "connect", lambda identifier: plain(identifier, path))
        yield sock


def _accept(journald: socket.socket) -> socket.socket:
    found = journald.accept()[0]
    found.settimeout(5.0)
    return found


def test_a_stream(journald: socket.socket) -> None:
    fd = journal_stream.connect("web-2")
    try:
        assert os.get_blocking(fd)
        assert not os.get_inheritable(fd)
        os.write(fd, b"a line\n")
    finally:
        os.close(fd)
    with _accept(journald) as theirs, theirs.makefile("rb") as file:
        assert file.read() == HEAD + b"a line\n"


def test_it_takes_the_place_of_the_journals_only(
    journald: socket.socket, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_stream, "outputs", lambda environ: (1,))
    outputs = Outputs.open(loop, {}, "web-2", WriteEnds(), capture=False)
    laid = {target: source for source, target in outputs.replacements()}
    found = os.fstat(laid[1])
    assert outputs.environment() == {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    os.write(laid[1], b"out\n")
    outputs.launched()
    outputs.close()
    with _accept(journald) as theirs, theirs.makefile("rb") as file:
        assert file.read() == HEAD + b"out\n"


def test_what_is_pumped_is_the_generations_too(
    journald: socket.socket, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_stream, "outputs", lambda environ: (1, 2))
    outputs = Outputs.open(loop, {}, "web-2", WriteEnds(), capture=True)
    laid = {target: source for source, target in outputs.replacements()}
    found = os.fstat(laid[1])
    assert outputs.environment() == {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    os.write(laid[1], b"out\n")
    os.write(laid[2], b"error\n")
    outputs.launched()
    assert outputs.tails() == [["out"], ["error"]]
    outputs.close()
    with _accept(journald) as theirs, theirs.makefile("rb") as file:
        assert file.read() == HEAD + b"out\nerror\n"


def test_a_terminal_stays_the_programs(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    outputs = Outputs.open(loop, {}, "", WriteEnds(), capture=True)
    assert [target for _source, target in outputs.replacements()] == [2]
    outputs.close()


def test_what_goes_to_a_log_does_not_go_to_the_journal(
    journald: socket.socket, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_stream, "outputs", lambda environ: (1, 2))
    reader, writer = os.pipe()
    logs = WriteEnds()
    logs.append(writer, (1, 2))
    outputs = Outputs.open(loop, {}, "web-2", logs, capture=True)
    assert (outputs.replacements(), outputs.environment()) == (((writer, 1), (writer, 2)), {})
    outputs.launched()
    assert os.read(reader, 1) == b""
    assert outputs.tails() == []
    outputs.close()
    os.close(reader)


def test_a_journal_that_takes_none(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(identifier: str) -> int:
        raise BlockingIOError(identifier)

    monkeypatch.setattr(journal_stream, "outputs", lambda environ: (1, 2))
    monkeypatch.setattr(journal_stream, "connect", refuse)
    outputs = Outputs.open(loop, {"JOURNAL_STREAM": "1:2"}, "web-2", WriteEnds(), capture=False)
    assert (outputs.replacements(), outputs.environment()) == ((), {})
    outputs.close()
