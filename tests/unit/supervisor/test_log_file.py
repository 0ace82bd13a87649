"""One log on disk: which line goes to which file, and a file that accepts nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.logs.file import LogFile, open_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    made = LogFile(str(path), limit=20)
    yield made
    made.close()


def full(path: Path) -> None:
    """Every write fails with ENOSPC."""
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/full")


def test_a_full_disk_and_the_end_of_it(log: LogFile, path: Path) -> None:
    full(path)
    log.put(1, b"one\n")
    log.put(1, b"two\n")
    assert log.error == "No space left on device"
    assert _waits(log)
    path.unlink()
    assert log.reopen() == ""
    assert log.error == ""
    assert not _waits(log)
    assert path.read_bytes() == b"one\ntwo\n"


def _waits(log: LogFile) -> bool:
    return log.retry_at is not None


def test_the_pause_grows(log: LogFile, path: Path) -> None:
    full(path)
    log.put(1, b"one\n")
    assert log.retry_at is not None
    first = log.retry_at
    log.flush()
    log.flush()
    # 0.1 s, 0.2 s, 0.4 s after each attempt.
    assert log.retry_at - first >= 0.3


def test_lost_lines_are_reported_in_their_place(log: LogFile, path: Path) -> None:
    full(path)
    log.put(1, b"0123456789\n")
    log.put(1, b"dropped, for it is long\n")
    log.put(2, b"too\n")
    path.unlink()
    assert log.reopen() == ""
    log.put(2, b"after\n")
    first, report, last = path.read_text().splitlines()
    assert (first, last) == ("0123456789", "after")
    assert report.startswith("sockact: 2 lines (28 bytes) were dropped between 20")
    assert report.endswith(": No space left on device")


def test_a_single_line(log: LogFile, path: Path) -> None:
    full(path)
    log.put(1, b"this is longer than 20 bytes\n")
    path.unlink()
    log.reopen()
    assert path.read_text().startswith("sockact: 1 line (29 bytes) was dropped between 20")


def test_a_file_that_cannot_be_reopened(log: LogFile, path: Path) -> None:
    log.put(1, b"one\n")
    moved = path.with_suffix(".1")
    path.rename(moved)
    path.mkdir()
    assert log.reopen() == f"{path}: Is a directory"
    log.put(1, b"two\n")
    assert (log.error, moved.read_bytes()) == ("", b"one\ntwo\n")


def test_a_deleted_file_is_made_again(log: LogFile, path: Path) -> None:
    log.put(1, b"one\n")
    path.unlink()
    log.put(1, b"two\n")
    assert path.read_bytes() == b"two\n"


def test_a_descriptor_that_tells_nothing_any_more(log: LogFile, path: Path) -> None:
    """As on NFS, if the server has forgotten the file."""
    log.put(1, b"one\n")
    assert log._fd is not None
    os.close(log._fd)
    log.put(1, b"two\n")
    assert (path.read_text(), log.error) == ("one\ntwo\n", "")


def test_a_directory_is_not_made(path: Path) -> None:
    log = LogFile(str(path.parent / "missing" / "app.log"))
    log.put(1, b"one\n")
    assert log.error == "No such file or directory"
    (path.parent / "missing").mkdir()
    log.flush()
    assert (path.parent / "missing" / "app.log").read_bytes() == b"one\n"
    log.close()


def half_written(log: LogFile, path: Path) -> None:
    """A file with half of a line that accepts no more, as on a full disk."""
    log.put(1, b"whole\n")
    log.backlog.put(1, b"a line\n", 1.0)
    with path.open("ab") as file:
        file.write(b"a l")
    log.backlog.taken(3)
    log._fail(OSError(28, "No space left on device"))


def test_half_a_line_goes_on_in_its_file(log: LogFile, path: Path) -> None:
    half_written(log, path)
    log.flush()
    assert path.read_bytes() == b"whole\na line\n"


def test_half_a_line_is_removed_from_the_previous_file(log: LogFile, path: Path) -> None:
    half_written(log, path)
    moved = path.with_suffix(".1")
    path.rename(moved)
    log._change(open_log(str(path)))
    log.flush()
    assert (moved.read_bytes(), path.read_bytes()) == (b"whole\n", b"a line\n")


def test_half_a_line_stays_if_another_process_has_written(log: LogFile, path: Path) -> None:
    half_written(log, path)
    moved = path.with_suffix(".1")
    path.rename(moved)
    with moved.open("ab") as file:
        file.write(b"(another)\n")
    log._change(open_log(str(path)))
    log.flush()
    assert (moved.read_bytes(), path.read_bytes()) == (b"whole\na l(another)\n", b"a line\n")


def test_the_reopened_file_is_the_same(log: LogFile, path: Path) -> None:
    half_written(log, path)
    assert log.reopen() == ""
    log.put(1, b"next\n")
    assert path.read_bytes() == b"whole\na line\nnext\n"


def test_a_part_of_a_line_before_a_rotation(log: LogFile, path: Path) -> None:
    # Longer than what is waited for: its rest begins the next file, and nothing is in front of it.
    log.put(1, b"a part")
    moved = path.with_suffix(".1")
    path.rename(moved)
    assert log.reopen() == ""
    log.put(2, b"other\n")
    log.put(1, b"rest\n")
    assert (moved.read_bytes(), path.read_bytes()) == (b"a part", b"other\nrest\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user")
def test_root_does_not_follow_another_users_link(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.touch()
    path.symlink_to(target)
    os.close(open_log(str(path)))
    os.lchown(path, 65534, 65534)
    with pytest.raises(OSError, match="a symbolic link of user 65534"):
        open_log(str(path))
