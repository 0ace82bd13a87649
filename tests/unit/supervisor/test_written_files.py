"""Which files a process writes, and which of them have the name of a rotated log."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.logs import written_files

if TYPE_CHECKING:
    from pathlib import Path

OURSELVES = os.getpid()


@pytest.mark.parametrize(
    "name",
    [
        *("app.log.1", "app.log.12", "app.log-20261121", "app.log-2026112107"),
        *("app.log-20261121-1795240000", "app.log.2026-11-21", "app.log.2026-11-21_07"),
    ],
)
def test_a_rotated_name_beside_its_successor(folder: Path, name: str) -> None:
    path, log = folder / name, folder / "app.log"
    with path.open("a"):
        assert written_files.left_behind(OURSELVES) == []
        log.touch()
        assert written_files.left_behind(OURSELVES) == [str(path)]
        path.unlink()
        assert written_files.left_behind(OURSELVES) == [f"{path} (deleted)"]
    assert written_files.left_behind(OURSELVES) == []


def test_deleted(folder: Path) -> None:
    path = folder / "app.log"
    with path.open("a"):
        path.unlink()
        assert written_files.left_behind(OURSELVES) == []
        path.touch()
        assert written_files.left_behind(OURSELVES) == [f"{path} (deleted)"]


@pytest.mark.parametrize("name", ["app.log", "app-20261121.log", "app.log.x1", "app.log.12345"])
def test_other_names(folder: Path, name: str) -> None:
    (folder / "app").touch()
    with (folder / name).open("a"), (folder / "app.log").open("a"):
        assert written_files.left_behind(OURSELVES) == []


def test_what_is_not_appended_to(folder: Path) -> None:
    (folder / "db").touch()
    (folder / "db.1").touch()
    with ExitStack() as stack:
        for mode in ("r", "r+", "w"):
            stack.enter_context((folder / "db.1").open(mode))
        assert written_files.left_behind(OURSELVES) == []


def test_writes_files(folder: Path) -> None:
    path = folder / "app.log"
    path.touch()
    code = (
        "import sys\nfor mode in 'ra':\n"
        " file = open(sys.argv[1], mode); print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin
        assert process.stdout
        for writes in (False, True):
            process.stdout.readline()
            assert written_files.writes_files(process.pid) is writes
            process.stdin.write(b"\n")
            process.stdin.flush()
    assert not written_files.writes_files(process.pid)
