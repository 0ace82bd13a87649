"""The runtime directory: who may use it, and who holds its lock."""

from __future__ import annotations

import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.control import claim, paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_create_sets_the_modes_whatever_the_umask_is(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "sockact" / "app"
    claim.create(str(directory))
    claim.create(str(directory))
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (directory, *directory.parents[:2])]
    assert modes == [0o700, 0o755, 0o755]


def test_a_directory_that_others_can_change_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(paths.RuntimeDirError, match="other users can modify"):
        claim.create(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link of another user")
@pytest.mark.parametrize("name", ["app", "app/below"])
def test_a_link_of_another_user_on_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "app").symlink_to("other")
    os.lchown(tmp_path / "app", 65534, 65534)
    with pytest.raises(paths.RuntimeDirError, match="a symbolic link of user 65534; set SOCK"):
        claim.take(str(tmp_path / name))
    assert os.listdir(tmp_path / "other") == []


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("")
    for directory in (tmp_path / "app", tmp_path / "app" / "below", tmp_path / "app" / "a" / "b"):
        with pytest.raises(paths.RuntimeDirError, match="cannot create") as caught:
            claim.create(str(directory))
        assert f"{tmp_path}/app is not a directory" in str(caught.value)
        assert "writable" not in str(caught.value)


def test_the_lock_is_held_once(tmp_path: Path) -> None:
    directory = str(tmp_path)
    assert not paths.is_running(directory)
    held = claim.lock(directory)
    try:
        assert not os.get_inheritable(held)
        assert paths.is_running(directory)
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
        with pytest.raises(claim.AlreadyRunning, match=f"pid {os.getpid()}") as caught:
            claim.lock(directory)
        assert caught.value.pid == os.getpid()
    finally:
        os.close(held)
    assert not paths.is_running(directory)
    os.close(claim.lock(directory))


def test_a_pipe_in_place_of_the_lock_does_not_block(tmp_path: Path) -> None:
    """Root looks into the folders of all services, and each belongs to a user of its own."""
    os.mkfifo(tmp_path / "lock")
    assert not paths.is_running(str(tmp_path))


def test_a_longer_old_pid_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789012\n")
    os.close(claim.lock(str(tmp_path)))
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_without_a_directory(tmp_path: Path) -> None:
    with pytest.raises(paths.RuntimeDirError, match="cannot open"):
        claim.lock(str(tmp_path / "absent"))


@pytest.mark.parametrize("call", ["ftruncate", "pwrite"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    directory = tmp_path / "app"

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(paths.RuntimeDirError, match="No space left on device; free some"):
            claim.take(str(directory))
    assert not directory.exists()
    claim.take(str(directory)).release()


def test_no_room_for_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(paths.RuntimeDirError, match="No space left on device; free some"):
        claim.create(str(tmp_path / "app"))


def test_a_created_directory_is_removed_at_the_end(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "app"
    held = claim.take(str(directory))
    assert paths.is_running(str(directory))
    held.release()
    assert not directory.exists()
    assert directory.parent.exists()


def test_an_existing_directory_is_kept(tmp_path: Path) -> None:
    claim.take(str(tmp_path)).release()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_use_stays(tmp_path: Path) -> None:
    directory = tmp_path / "app"
    held = claim.take(str(directory))
    (directory / "other").touch()
    held.release()
    assert [path.name for path in directory.iterdir()] == ["other"]


def test_only_the_holder_removes_the_lock(tmp_path: Path) -> None:
    directory = tmp_path / "app"
    first = claim.take(str(directory))
    with pytest.raises(claim.AlreadyRunning):
        claim.take(str(directory))
    assert paths.is_running(str(directory))
    # Somebody cleans up below it, and the next one starts.
    (directory / "lock").unlink()
    second = claim.take(str(directory))
    first.release()
    assert paths.is_running(str(directory))
    second.release()


def test_the_lock_is_taken_on_the_file_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder before ends between our open() and our flock()."""
    directory = tmp_path / "app"
    first = claim.take(str(directory))
    take = claim._is_free

    def slow(fd: int) -> bool:
        first.release()
        return take(fd)

    with monkeypatch.context() as patch:
        patch.setattr(claim, "_is_free", slow)
        second = claim.take(str(directory))
    with pytest.raises(claim.AlreadyRunning):
        claim.take(str(directory))
    second.release()
    assert not directory.exists()


def test_a_lock_that_is_always_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_is_at", lambda _fd, _path: False)
    with pytest.raises(paths.RuntimeDirError, match="keeps being replaced"):
        claim.take(str(tmp_path / "app"))


def test_many_start_and_end_at_once(tmp_path: Path) -> None:
    directory = str(tmp_path / "app")
    holders: list[int] = []
    most = []

    def work() -> None:
        for _ in range(100):
            try:
                held = claim.take(directory)
            except claim.AlreadyRunning:
                continue
            holders.append(1)
            most.append(len(holders))
            holders.pop()
            held.release()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}


def test_readers_of_the_lock_do_not_keep_a_supervisor_from_starting(tmp_path: Path) -> None:
    directory = str(tmp_path)
    os.close(claim.lock(directory))
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            paths.is_running(directory)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            os.close(claim.lock(directory))
    finally:
        done.set()
        for thread in threads:
            thread.join()
