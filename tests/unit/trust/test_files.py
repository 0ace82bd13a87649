"""Files that root opens where another user could have put something else."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from sockact.trust import files, walk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
OTHER, ANOTHER = 65534, 65533
SECRET = b"root's secret\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory of another user's, beside what is root's."""
    found = tmp_path / "home"
    found.mkdir()
    os.chown(found, OTHER, OTHER)
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    for path in (tmp_path, *tmp_path.parents):
        if not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(0o711)
    return found


def link(path: Path, target: Path | str, uid: int = OTHER) -> Path:
    path.symlink_to(target)
    os.lchown(path, uid, uid)
    return path


def appended(path: Path) -> None:
    fd = files.open_to_append(str(path), 0o640)
    os.write(fd, b"a line\n")
    os.close(fd)


def test_what_everybody_may_read_or_is_the_users_own_is_read(home: Path) -> None:
    (home / "roots").write_text("1.2\n")
    own = home / "own"
    own.write_text("1.3\n")
    own.chmod(0o600)
    os.chown(own, OTHER, OTHER)
    assert files.read(str(home / "roots"), 100) == b"1.2\n"
    assert files.read(str(home / "own"), 2) == b"1."
    current = link(home / "current", ".")
    assert files.read(str(current / "own"), 100) == b"1.3\n"


@pytest.mark.parametrize("way", ["link", "directory", "hard link", "through another user"])
def test_a_secret_is_not_read_for_who_leads_there(home: Path, tmp_path: Path, way: str) -> None:
    path = home / "VERSION"
    if way == "link":
        link(path, "../secret")
    elif way == "directory":
        path = link(home / "current", tmp_path) / "secret"
    elif way == "hard link":
        path.hardlink_to(tmp_path / "secret")
    else:
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        (private / "mine").write_bytes(SECRET)
        for one in (private, private / "mine"):
            os.chown(one, ANOTHER, ANOTHER)
        link(path, private / "mine")
    with pytest.raises(PermissionError, match="user 65534 can make this path lead to any file"):
        files.read(str(path), 100)


def test_a_hidden_file_stays_hidden(home: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "readable").write_bytes(SECRET)
    with pytest.raises(PermissionError):
        files.read(str(link(home / "VERSION", hidden / "readable")), 100)


def test_a_secret_is_not_read_where_a_file_says_so(tmp_path: Path, home: Path) -> None:
    assert files.read(str(tmp_path / "secret"), 100) == SECRET
    with pytest.raises(PermissionError):
        files.read(str(tmp_path / "secret"), 100, told=True)


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "loop", "missing", "in a file"])
def test_only_regular_files_are_read(home: Path, kind: str) -> None:
    path = home / "VERSION"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        link(path, "/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "loop":
        link(path, path)
    elif kind == "in a file":
        path.touch()
        path = path / "x"
    with pytest.raises(OSError, match=str(path)) as failure:
        files.read(str(path), 100)
    assert failure.value.filename == str(path)


@pytest.mark.parametrize("part", ["the file", "its directory"])
def test_root_appends_through_no_link_of_another_user(
    home: Path, tmp_path: Path, part: str
) -> None:
    target = tmp_path / "cron.d"
    target.mkdir()
    path = home / "logs" / "access"
    if part == "the file":
        path.parent.mkdir()
        link(path, target / "access")
    else:
        link(path.parent, target)
    with pytest.raises(OSError, match="a symbolic link of user 65534"):
        appended(path)
    assert os.listdir(target) == []


def test_root_appends_to_no_file_that_another_user_has_linked(home: Path, tmp_path: Path) -> None:
    (home / "access").hardlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="several names"):
        appended(home / "access")
    assert (tmp_path / "secret").read_bytes() == SECRET


def test_root_follows_its_own_links(home: Path, tmp_path: Path) -> None:
    logs = link(tmp_path / "logs", "home/../home", uid=0)
    appended(logs / "access")
    appended(link(tmp_path / "log", logs / "access", uid=0))
    assert (home / "access").read_text() == "a line\n" * 2
    assert stat.S_IMODE((home / "access").stat().st_mode) == 0o640


def test_descriptors_of_ones_own(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        appended(link(tmp_path / "log", f"/proc/self/fd/{file.fileno()}", uid=0))
    assert (tmp_path / "out").read_text() == "a line\n"
    os.close(files.open_to_append("/dev/null", 0o640))


def test_a_file_is_replaced_where_it_is(home: Path, tmp_path: Path) -> None:
    (home / "file").write_text("before")
    (home / "file").chmod(0o640)
    os.chown(home / "file", OTHER, OTHER)
    files.replace(str(link(tmp_path / "link", "home/file", uid=0)), b"after")
    found = (home / "file").stat()
    assert (home / "file").read_text() == "after"
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (OTHER, 0o640)
    with pytest.raises(OSError, match="a symbolic link of user 65534"):
        files.replace(str(link(home / "link", "../secret")), b"after")
    assert sorted(os.listdir(home)) == ["file", "link"]


def test_no_descriptor_is_left(home: Path, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    (home / "file").touch()
    link(home / "link", "../home/file")
    for path in ("/", ".", "..", str(home), str(home / "link"), str(home / "missing")):
        with walk.find(path) as found:
            assert os.path.realpath(f"/proc/self/fd/{found.parent}")
            if found.fd >= 0:
                assert os.path.samestat(found.stat(), os.stat(path))
    with pytest.raises(OSError, match="such file"):
        walk.find(str(home / "missing" / "file"))
    assert os.listdir("/proc/self/fd") == before
