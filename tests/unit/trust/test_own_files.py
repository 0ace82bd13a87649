"""Files of ours below a directory that the program can write, and files that are written anew."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from sockact.trust import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
OTHER = 65534


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A directory to which only links lead, with the names that the tests use."""
    found = tmp_path / "elsewhere"
    found.mkdir()
    for name in ("file", "file.new"):
        (found / name).write_text("as before")
    return found


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def untouched(directory: Path) -> bool:
    return {path.name: path.read_text() for path in directory.iterdir()} == {
        "file": "as before",
        "file.new": "as before",
    }


def test_no_directory_of_ours_is_a_link(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ours").symlink_to(elsewhere)
    path = str(tmp_path / "state" / "ours" / "file")
    for attempt in (
        lambda: files.replace_own(path, b"x", 0o600, plain=2),
        lambda: files.read_own(path, 100, plain=2),
        lambda: files.remove_own(path, plain=2),
        lambda: files.names_in(os.path.dirname(path), 100),
        lambda: files.make_directory(os.path.dirname(path), 0o700, plain=1),
        lambda: files.make_directory(f"{path}s", 0o700, plain=2),
    ):
        with pytest.raises(OSError, match=r"a symbolic link|Not a directory"):
            attempt()
    assert untouched(elsewhere)


@pytest.mark.parametrize("name", ["file", "file.new"])
@pytest.mark.parametrize("kind", ["link", "fifo", "hard link"])
def test_whatever_has_the_name_is_replaced(
    tmp_path: Path, elsewhere: Path, name: str, kind: str
) -> None:
    if kind == "link":
        (tmp_path / name).symlink_to(elsewhere / name)
    elif kind == "fifo":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).hardlink_to(elsewhere / name)
    files.replace_own(str(tmp_path / "file"), b"ours", 0o666)
    found = (tmp_path / "file").lstat()
    assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o640)
    assert files.read_own(str(tmp_path / "file"), 3) == b"our"
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "file"]
    assert untouched(elsewhere)


@as_root
def test_a_hard_link_to_a_file_of_ours_is_not_read(tmp_path: Path, elsewhere: Path) -> None:
    os.chown(tmp_path, OTHER, OTHER)
    (tmp_path / "file").hardlink_to(elsewhere / "file")
    with pytest.raises(OSError, match="several names"):
        files.read_own(str(tmp_path / "file"), 100)


@as_root
def test_root_makes_no_directory_past_a_link_of_others(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "link").symlink_to(elsewhere)
    os.lchown(tmp_path / "link", OTHER, OTHER)
    with pytest.raises(OSError, match="a symbolic link of user 65534"):
        files.make_directory(str(tmp_path / "link" / "a" / "b"), 0o755)
    assert untouched(elsewhere)


def test_directories_are_made_and_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    assert files.make_directory(str(path), 0o700)
    assert not files.make_directory(str(path), 0o755)
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)] == [0o700, 0o750]


def test_a_directory_is_read_in_part(tmp_path: Path, elsewhere: Path) -> None:
    assert sorted(files.names_in(str(elsewhere), 2)) == ["file", "file.new"]
    with pytest.raises(OSError, match="more than 1 entries"):
        files.names_in(str(elsewhere), 1)


def test_a_file_with_a_mode_takes_the_place_of_a_link(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "unit").symlink_to("/dev/null")
    files.replace(str(tmp_path / "unit"), b"[Unit]", 0o644)
    found = (tmp_path / "unit").lstat()
    assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o644)
    with pytest.raises(IsADirectoryError):
        files.replace(str(elsewhere), b"x", 0o644)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "unit"]


def test_nothing_is_left_of_a_file_that_is_not_put(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as before")
    with pytest.raises(KeyboardInterrupt), files.beside(str(tmp_path / "file"), b"x"):
        raise KeyboardInterrupt
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("file", "as before")]
