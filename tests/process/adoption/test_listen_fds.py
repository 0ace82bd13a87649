"""LISTEN_FDS as systemd would never pass it is refused in one line, and nothing is started."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.process.reloads.test_bad_input import TOUCH, run
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# What systemd does between fork and exec; the pid cannot be known before.
AS_SYSTEMD = """
import sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""
# From 258 on.
WITH_INODE = """
pidfd = os.pidfd_open(os.getpid())
os.environ["LISTEN_PIDFDID"] = str(os.fstat(pidfd).st_ino + {added})
os.close(pidfd)
"""


def activated(
    folder: Path, fd: int | None, listen_fds: str, *fdnames: str, before: str = ""
) -> str:
    """The same, started as systemd starts a socket-activated service; `before` is done before."""
    environment = {"LISTEN_FDS": listen_fds}
    if fdnames:
        environment["LISTEN_FDNAMES"] = fdnames[0]
    through = (sys.executable, "-c", _lay_over_3(fd) + before + AS_SYSTEMD)
    fds = () if fd is None else (fd,)
    return run(folder, "--", *TOUCH, environment=environment, pass_fds=fds, through=through)


def _lay_over_3(fd: int | None) -> str:
    if fd is None:
        return "import os; os.closerange(3, 64)"
    return f"import os; os.dup2({fd}, 3)"


NO_NUMBERS = (
    *("", " 1", "1\n", "\N{SUPERSCRIPT ONE}", "9" * 5000),
    *("many", "-1", "+1", "0x1", "1_0", "2147483647"),
)


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_is_not_a_number_of_descriptors(folder: Path, value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert f"cannot read LISTEN_FDS={value!r}" in activated(folder, sock.fileno(), value)


@pytest.mark.parametrize("value", ["3", "999999999"])
def test_names_more_than_are_open(folder: Path, value: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        line = activated(folder, sock.fileno(), value)
    assert f"LISTEN_FDS={value} is set, but file descriptor 4 is not open" in line


def test_is_zero(folder: Path) -> None:
    assert "LISTEN_FDS=0" in activated(folder, None, "0")


def test_names_closed_descriptors(folder: Path) -> None:
    assert "not open" in activated(folder, None, "1")


def test_names_a_regular_file(folder: Path) -> None:
    with tempfile.TemporaryFile() as file:
        assert "descriptor 3 of LISTEN_FDS is not a socket" in activated(folder, file.fileno(), "1")


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


@pytest.mark.parametrize("names", ["one:two", ":", "one:"])
def test_does_not_fit_the_names(folder: Path, names: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert f"LISTEN_FDNAMES={names!r}" in activated(folder, sock.fileno(), "1", names)


@pytest.mark.parametrize("pid", ["1", "0", "-1", "mine", "9" * 5000])
def test_is_meant_for_another_process(folder: Path, pid: str) -> None:
    environment = {"LISTEN_FDS": "1", "LISTEN_PID": pid}
    line = run(folder, "--listen", "127.0.0.1:1", "--", *TOUCH, environment=environment)
    assert f"LISTEN_PID={pid} is not this process" in line


def test_is_meant_for_an_earlier_process_of_this_pid(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        line = activated(folder, sock.fileno(), "1", before=WITH_INODE.format(added=1))
    assert "LISTEN_PIDFDID=" in line
    assert "is not this process" in line


def test_comes_without_listen_pid(folder: Path) -> None:
    line = run(folder, "--", *TOUCH, environment={"LISTEN_FDS": "1"})
    assert "LISTEN_PID=(unset)" in line


@pytest.mark.parametrize("name", ["web", "", "a b", os.fsdecode(b"\xff\n"), None])
def test_passes_a_listener_of_any_name(folder: Path, start: StartService, name: str | None) -> None:
    program = Program(folder)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        program.publish("1", f"accept(bound({sock.getsockname()!r}))")
        names = {} if name is None else {"LISTEN_FDNAMES": name}
        through = _lay_over_3(sock.fileno()) + WITH_INODE.format(added=0) + AS_SYSTEMD
        service = start(
            program.command,
            environment={**os.environ, "LISTEN_FDS": "1", **names},
            pass_fds=(sock.fileno(),),
            launcher=(sys.executable, "-c", through),
        )
        (listener,) = service.status()["listeners"]
        assert listener["name"] == ("unknown" if name is None else name)
        assert ask(sock.getsockname()) == "1"
        shown = service.run("status", "test")
        assert (shown.code, shown.stderr) == (0, "")
        assert service.reload().code == 0
        assert service.stop() == 0
