"""Socket files of a running program: which paths root may trust, and who owns the file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.core.errors import OperatorError
from sockact.units import listening_sockets, socket_files
from sockact.units.wrap import socket_unit

if TYPE_CHECKING:
    from pathlib import Path

    from sockact.units.listening_sockets import Bound

NOBODY = 65534
# In a mount namespace of its own, where /mnt is another file system.
ELSEWHERE = """
import socket
found = socket.socket(socket.AF_UNIX)
found.bind("/mnt/passwd")
found.listen()
print(flush=True)
input()
"""


def bound_here(path: str) -> Bound:
    """What is found of our own socket at a path."""
    (found,) = [
        one for one in listening_sockets.find_bound([os.getpid()]) if one.address.host == path
    ]
    return found


def test_a_name_that_looks_like_a_table(folder: Path) -> None:
    """/proc/net/unix prints newlines as they are."""
    path = str(folder / "x.sock")
    with socket.socket(socket.AF_UNIX) as real, socket.socket(socket.AF_UNIX) as liar:
        real.bind(path)
        real.listen()
        inode = os.fstat(real.fileno()).st_ino
        line = f"\n0: 00000002 00000000 00010000 0001 01 {inode} /etc/passwd"
        liar.bind(f"\0{line}")
        liar.listen()
        found = {one.address.host for one in listening_sockets.find_bound([os.getpid()])}
        assert found == {path, f"@{line}"}
        assert listening_sockets.is_in_use(bound_here(path).address)


def test_the_file_is_the_one_that_is_bound(folder: Path) -> None:
    path = folder / "x.sock"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(path))
        first.listen()
        found = bound_here(str(path))
        assert socket_files.is_file(str(path), found.file)
        path.rename(folder / "moved.sock")
        assert not socket_files.is_file(str(path), found.file)
        path.symlink_to(folder / "moved.sock")
        assert not socket_files.is_file(str(path), found.file)
        path.unlink()
        second.bind(str(path))
        second.listen()
        assert not socket_files.is_file(str(path), found.file)
        assert socket_files.is_file(str(folder / "moved.sock"), found.file)


def test_a_path_of_another_mount_namespace() -> None:
    words = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs x /mnt && exec "$@"', "sh"]
    with subprocess.Popen(
        [*words, sys.executable, "-c", ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"\n"
        (found,) = listening_sockets.find_bound([program.pid])
        assert found.address.host == "/mnt/passwd"
        with pytest.raises(OperatorError, match="'/mnt/passwd', which others cannot see"):
            socket_unit.check_files([found], [], user_unit=False)
        # The administrator has named it.
        socket_unit.check_files([found], [found.address], user_unit=False)
        program.communicate(b"\n", timeout=20)


def test_a_file_that_is_no_socket_is_kept(folder: Path) -> None:
    path = folder / "x.sock"
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))
        own.listen()
        found = bound_here(str(path))
    path.unlink()
    path.write_text("precious")
    with pytest.raises(OperatorError, match="exists and is not a socket; move it elsewhere"):
        socket_unit.check_files([], [found.address], user_unit=False)
    path.unlink()
    path.symlink_to("/etc/shadow")
    assert socket_files.rights(str(path)) is None
    with pytest.raises(OperatorError, match="not a socket"):
        socket_unit.check_files([], [found.address], user_unit=False)


@pytest.fixture
def roots(folder: Path) -> Path:
    """A directory that would be root's alone if the test's own were not in /tmp."""
    (folder / "app").mkdir()
    return folder / "app"


def test_directories_that_others_can_change(roots: Path) -> None:
    path = str(roots / "inner" / "x.sock")
    (roots / "inner").mkdir()
    assert not socket_files.redirectable_at(path)
    os.chown(roots / "inner", NOBODY, -1)
    assert not socket_files.redirectable_at(path)
    os.chown(roots, NOBODY, -1)
    assert socket_files.redirectable_at(path) == str(roots)
    os.chown(roots, 0, 0)
    roots.chmod(0o775)
    assert socket_files.redirectable_at(path) == str(roots)
    # In which everybody may replace what they own, as in /tmp.
    roots.chmod(0o1777)
    assert socket_files.redirectable_at(path) == str(roots)
    os.chown(roots / "inner", 0, -1)
    assert not socket_files.redirectable_at(path)
    roots.chmod(0o755)
    # By a link that somebody else may change.
    (roots / "theirs").mkdir()
    (roots / "theirs" / "link").symlink_to(roots / "inner")
    os.chown(roots / "theirs", NOBODY, -1)
    (roots / "own").symlink_to("theirs/link")
    assert socket_files.redirectable_at(str(roots / "own" / "x.sock")) == str(roots / "theirs")


def test_a_path_that_others_can_change_is_refused(roots: Path) -> None:
    inner = roots / "inner"
    inner.mkdir()
    os.chown(roots, NOBODY, -1)
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(inner / "x.sock"))
        own.listen()
        found = bound_here(str(inner / "x.sock"))
        with pytest.raises(OperatorError, match=f"others than root can write to {roots} and"):
            socket_unit.check_files([found], [], user_unit=False)
        socket_unit.check_files([found], [], user_unit=True)
        socket_unit.check_files([found], [found.address], user_unit=False)
        os.chown(roots, 0, -1)
        os.chown(inner, NOBODY, -1)
        socket_unit.check_files([found], [], user_unit=False)


def test_the_owner_of_the_file(roots: Path) -> None:
    """systemd's own chown() follows links."""
    path = str(roots / "x.sock")
    own = {one.key: one.value for one in socket_files.owner_settings([path], "app", "www")}
    assert own == {"SocketUser": "app", "SocketGroup": "www"}
    assert [one.key for one in socket_files.owner_settings([path], "app")] == ["SocketUser"]
    os.chown(roots, NOBODY, -1)
    (only,) = socket_files.owner_settings([path], "app", "www")
    assert only.key == "ExecStartPost"
    assert only.value == f"chown --no-dereference -- app:www {path}"
    os.chown(roots, 0, -1)
    roots.chmod(0o1777)
    assert [one.key for one in socket_files.owner_settings([path], "app")] == ["SocketUser"]
    roots.chmod(0o775)
    (only,) = socket_files.owner_settings([path], "app")
    assert only.value == f"chown --no-dereference -- app {path}"
