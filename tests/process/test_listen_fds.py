"""LISTEN_FDS as systemd would never pass it: refused in one line, and nothing is started."""

from __future__ import annotations

import socket
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.process.test_bad_input import TOUCH, run

if TYPE_CHECKING:
    from pathlib import Path

# What systemd does between fork and exec; {pid} cannot be known before.
AS_SYSTEMD = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


def activated(folder: Path, fd: int | None, listen_fds: str, *fdnames: str) -> str:
    """The same, started as systemd starts a socket-activated service."""
    environment = {"LISTEN_FDS": listen_fds}
    if fdnames:
        environment["LISTEN_FDNAMES"] = fdnames[0]
    through = (sys.executable, "-c", _lay_over_3(fd) + AS_SYSTEMD)
    fds = () if fd is None else (fd,)
    return run(folder, "--", *TOUCH, environment=environment, pass_fds=fds, through=through)


def _lay_over_3(fd: int | None) -> str:
    if fd is None:
        return "import os; os.closerange(3, 64)"
    return f"import os; os.dup2({fd}, 3)"


@pytest.mark.parametrize("value", ["many", "", "-1", "99999999999999999999", "2147483647"])
def test_is_not_a_number_of_descriptors(folder: Path, value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert f"LISTEN_FDS={value}" in activated(folder, sock.fileno(), value).replace("'", "")


def test_is_zero(folder: Path) -> None:
    assert "LISTEN_FDS=0" in activated(folder, None, "0")


def test_names_closed_descriptors(folder: Path) -> None:
    assert "not open" in activated(folder, None, "1")


def test_names_a_regular_file(folder: Path) -> None:
    with tempfile.TemporaryFile() as file:
        assert "descriptor 3 of LISTEN_FDS is no socket" in activated(folder, file.fileno(), "1")


def test_names_a_connected_socket(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as sock:
            line = activated(folder, sock.fileno(), "1")
    assert "does not listen" in line
    assert "Accept=" in line


def test_names_a_socket_of_another_kind(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind("\0" + str(folder))
        sock.listen()
        assert "cannot hand over" in activated(folder, sock.fileno(), "1")


def test_names_a_unix_datagram_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + str(folder))
        assert "cannot hand over" in activated(folder, sock.fileno(), "1")


def test_does_not_fit_the_names(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert "LISTEN_FDNAMES" in activated(folder, sock.fileno(), "1", "one:two")


def test_is_meant_for_somebody_else(folder: Path) -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    line = run(folder, "--listen", "127.0.0.1:1", "--", *TOUCH, environment=environment)
    assert "LISTEN_PID=1 is not this process" in line


def test_comes_without_listen_pid(folder: Path) -> None:
    line = run(folder, "--", *TOUCH, environment={"LISTEN_FDS": "1"})
    assert "LISTEN_PID=(unset)" in line
