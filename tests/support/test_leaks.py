"""The leak check finds every kind of leak."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import leaks, wait

if TYPE_CHECKING:
    from pathlib import Path

# Leaves an orphan that prints its pid and then waits forever.
ORPHAN = """
import os, signal, sys
if os.fork() == 0:
    os.close(0)
    print(os.getpid(), flush=True)
    os.close(1)
    signal.pause()
"""


def test_an_orphan_is_found_and_ended() -> None:
    with pytest.raises(AssertionError, match="process"), leaks.nothing_left():
        done = subprocess.run([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, check=True)
    assert wait.ended(int(done.stdout))


def test_a_descriptor_is_found() -> None:
    with pytest.raises(AssertionError, match="/dev/null"), leaks.nothing_left():
        fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)


def test_a_socket_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert leaks.socket_files(tmp_path) == [path]


def test_nothing_is_found_where_nothing_is_left() -> None:
    with leaks.nothing_left():
        subprocess.run(["true"], check=True)


def test_waiting_ends_at_the_deadline() -> None:
    with pytest.raises(TimeoutError, match="for nothing"):
        wait.until(lambda: None, "nothing", 0.05)
