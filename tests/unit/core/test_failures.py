"""The window of failures, and how it survives the supervisor."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from sockact.core.history.failures import MOST, Failure, Window, describe
from sockact.core.settings import Settings
from sockact.supervisor.records.history import History
from sockact.supervisor.records.snapshots import Snapshots
from sockact.supervisor.records.state_dir import state_dir

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = Window(interval=600.0, burst=3)
CRASH = "the program exited with status 3"


class Clock:
    """A wall clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def history(folder: Path, clock: Clock, window: Window = WINDOW) -> History:
    return History(str(folder / "state"), window, pytest.fail, clock)


def test_the_window_moves(tmp_path: Path, clock: Clock) -> None:
    one = history(tmp_path, clock)
    for number in range(3):
        assert not one.full()
        one.failed(number, CRASH)
        clock.now += 100
    assert one.full()
    assert one.describe() == f"3 failures in the last 10 min, most recently: {CRASH}"
    clock.now += 301
    assert not one.full(), "the first of them is too old"
    clock.now += 1000
    assert one.describe() == ""


def test_no_limit(tmp_path: Path, clock: Clock) -> None:
    one = history(tmp_path, clock, Window(600.0, 0))
    for number in range(20):
        one.failed(number, CRASH)
    assert not one.full()


def test_it_survives_the_supervisor(tmp_path: Path, clock: Clock) -> None:
    one = history(tmp_path, clock)
    for number in range(3):
        one.failed(number, f"{CRASH} \udcff ü")
    clock.now += 10
    again = history(tmp_path, clock)
    assert again.full()
    status = again.status()
    assert status["failures"] == one.status()["failures"]
    assert status["supervisor_starts_usec"] == [1_000_000_000_000, 1_000_010_000_000]
    again.reset()
    assert not history(tmp_path, clock).full()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[1, 2]",
        b"{",
        b"\xff\xfe",
        b'{"failures": 3, "starts": {}}',
        b'{"failures": [1, [2], ["a", 1, "b"], [1, 2, 3]], "starts": ["x"]}',
        b'{"failures": [[Infinity, 1, "x"], [NaN, 1, "x"]], "starts": [1e400, NaN]}',
        b'{"failures": [[1, 1%s, "x"], [1, -1, "x"]], "starts": [-1, true]}' % (b"0" * 4000),
        b'{"failures": [[1%s, 1, "x"]], "starts": [1%s]}' % (b"0" * 400, b"0" * 400),
        b"[" * 100_000,
    ],
)
def test_a_garbled_file_counts_as_empty(tmp_path: Path, clock: Clock, content: bytes) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "starts.json").write_bytes(content)
    one = history(tmp_path, clock)
    assert one.status()["failures"] == []
    one.failed(1, CRASH)
    assert len(json.loads((tmp_path / "state" / "starts.json").read_text())["failures"]) == 1


@pytest.mark.parametrize("name", ["starts.json", "starts.json.new"])
def test_a_fifo_or_a_link_in_the_place_of_the_file(tmp_path: Path, clock: Clock, name: str) -> None:
    """The program may write to the state directory: neither blocks, and no link is followed."""
    state = tmp_path / "state"
    state.mkdir()
    os.mkfifo(state / name)
    history(tmp_path, clock).failed(1, CRASH)
    assert stat.S_ISREG((state / "starts.json").stat().st_mode)
    other = tmp_path / "other"
    other.write_text("as before")
    (state / name).unlink(missing_ok=True)
    (state / name).symlink_to(other)
    history(tmp_path, clock).failed(1, CRASH)
    assert other.read_text() == "as before"
    assert not (state / "starts.json").is_symlink()


def test_directories_in_the_place_of_files(tmp_path: Path, clock: Clock) -> None:
    """Neither leaves a descriptor open."""
    (tmp_path / "state" / "starts.json").mkdir(parents=True)
    said: list[str] = []
    History(str(tmp_path / "state"), WINDOW, said.append, clock).failed(1, CRASH)
    assert len(said) == 1
    (tmp_path / "state" / "config" / "1.toml").mkdir(parents=True)
    for _ in range(5):
        settings = Settings("test", ("true",), config="/etc/test.toml", config_text="a")
        Snapshots(str(tmp_path / "state"), lambda _message: None).keep(settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user")
def test_a_link_in_the_place_of_the_directory(tmp_path: Path, clock: Clock) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "state").symlink_to(other)
    os.lchown(tmp_path / "state", 65534, 65534)
    said: list[str] = []
    History(str(tmp_path / "state"), WINDOW, said.append, clock).failed(1, CRASH)
    assert "starts.json (a symbolic link of user 65534); they will be lost on exit" in said[0]
    assert os.listdir(other) == []


def test_it_is_bounded(tmp_path: Path, clock: Clock) -> None:
    one = history(tmp_path, clock)
    for number in range(MOST + 50):
        one.failed(number, CRASH)
    assert len(json.loads((tmp_path / "state" / "starts.json").read_text())["failures"]) == MOST


def test_a_file_that_cannot_be_written(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    one = History(str(tmp_path / "file" / "state"), WINDOW, said.append, clock)
    for number in range(3):
        one.failed(number, CRASH)
    assert one.full()
    (line,) = said
    assert line.endswith("starts.json (Not a directory); they will be lost on exit")


def test_the_description_of_failures() -> None:
    assert describe((), 600) == ""
    assert describe((Failure(0, 1, "x"),), 90) == "1 failure in the last 90 s, most recently: x"
    assert describe((Failure(0, 1, "x"),), 7200) == "1 failure in the last 2 h, most recently: x"


def test_the_state_directory() -> None:
    assert state_dir("a", {"SOCKACT_STATE_DIR": "/x", "STATE_DIRECTORY": "/y"}) == "/x/a"
    assert state_dir("a", {"STATE_DIRECTORY": "/y/a:/z"}) == "/y/a"
    assert state_dir("a", {}, uid=0) == "/var/lib/sockact/a"
    assert state_dir("a", {"XDG_STATE_HOME": "/s"}, uid=5) == "/s/sockact/a"
    assert state_dir("a", {}, uid=5).endswith("/.local/state/sockact/a")
