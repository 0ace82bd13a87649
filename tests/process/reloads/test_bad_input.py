"""Bad input: one line with a remedy, exit status 2, and nothing started or left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.support import leaks, wait
from tests.support.program import Program
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

TOUCH = [sys.executable, "-S", "-c", "open('started', 'w')"]


def run(
    folder: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
    through: tuple[str, ...] = (),
) -> str:
    """The one line with which `sockact run` refuses these arguments."""
    runtime = folder / "run"
    done = subprocess.run(
        [*through, *SOCKACT, "run", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SOCKACT_RUNTIME_DIR": str(runtime),
            **(environment or {}),
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=pass_fds,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert not (folder / "started").exists()
    if runtime.exists():
        assert leaks.socket_files(runtime) == []
        if not environment:
            assert list(runtime.iterdir()) == []
    (line,) = messages(done.stderr)
    assert line.startswith("sockact: ")
    return line


def messages(stderr: str) -> list[str]:
    """The lines but for that about the launch. Of lanes, systemd is told more than these tests
    read.
    """
    others = ["generation 1: starting"]
    if os.environ.get("SOCKACT_LANES", "off") != "off":
        others.append("systemd is not reading from NOTIFY_SOCKET; retrying")
    return [line for line in stderr.splitlines() if not line.endswith(tuple(others))]


def test_no_program(folder: Path) -> None:
    assert "no program given" in run(folder, "--listen", "127.0.0.1:1234")


def test_unknown_option(folder: Path) -> None:
    assert "--lisen" in run(folder, "--lisen", "127.0.0.1:1234", "--", *TOUCH)


def test_no_listener(folder: Path) -> None:
    line = run(folder, "--", *TOUCH)
    assert "no listener" in line
    assert "--listen" in line
    assert ".socket" in line


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_address_in_use(folder: Path, family: socket.AddressFamily) -> None:
    host = "::1" if family is socket.AF_INET6 else "127.0.0.1"
    with socket.create_server((host, 0), family=family) as other:
        written = f"[{host}]" if ":" in host else host
        address = f"{written}:{other.getsockname()[1]}"
        line = run(folder, "--listen", address, "--", *TOUCH)
    assert f"cannot listen on {address}: Address already in use" in line
    assert "stop that process" in line


def test_unix_address_in_use(folder: Path) -> None:
    path = folder / "app.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        line = run(folder, "--listen", str(path), "--", *TOUCH)
        assert f"cannot listen on {path}: Address already in use" in line
        assert path.is_socket()
    path.unlink()


def test_file_in_the_way(folder: Path) -> None:
    path = folder / "precious"
    path.write_text("data")
    line = run(folder, "--listen", str(path), "--", *TOUCH)
    assert f"cannot listen on {path}: it is a regular file; remove it, or" in line
    assert path.read_text() == "data"


def test_directory_in_the_way(folder: Path) -> None:
    line = run(folder, "--listen", str(folder), "--", *TOUCH)
    assert f"cannot listen on {folder}: it is a directory; choose a path inside it" in line


def test_something_else_in_the_way(folder: Path) -> None:
    path = folder / "link"
    path.symlink_to("nowhere")
    line = run(folder, "--listen", str(path), "--", *TOUCH)
    assert f"cannot listen on {path}: it is a symbolic link; remove it, or" in line
    assert path.is_symlink()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:{port}", "127.0.0.1:{port}"),
        ("a=127.0.0.1:{port}", "b=127.0.0.1:{port}"),
        ("udp:127.0.0.1:{port}", "udp:127.0.0.1:{port}"),
        ("[::1]:{port}", "[0:0::1]:{port}"),
        ("{folder}/x.sock", "{folder}/x.sock"),
        ("{folder}/x.sock", "{folder}/../{folder.name}/x.sock"),
        ("@sockact-{port}", "@sockact-{port}"),
    ],
)
def test_the_same_address_twice(folder: Path, first: str, second: str) -> None:
    port = wait.free_port()
    one, other = (text.format(port=port, folder=folder) for text in (first, second))
    line = run(folder, "--listen", one, "--listen", other, "--", *TOUCH)
    assert f"--listen {other}: the same as --listen {one}; write it once" in line
    assert not (folder / "x.sock").exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [("0.0.0.0:{}", "127.0.0.1:{}"), ("127.0.0.1:{}", "0.0.0.0:{}"), ("{}", "127.0.0.1:{}")],
)
def test_an_address_within_another(folder: Path, first: str, second: str) -> None:
    port = wait.free_port()
    one, other = first.format(port), second.format(port)
    line = run(folder, "--listen", one, "--listen", other, "--", *TOUCH)
    assert f"--listen {one} covers it already; give only the wider address" in line


def test_none_is_left_open_when_one_fails(folder: Path) -> None:
    path = folder / "app.sock"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        run(folder, "--listen", str(path), "--listen", taken, "--", *TOUCH)
    assert not path.exists()


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":",
        ":8000",
        "localhost:8000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+80",
        "127.0.0.1: 80",
        "127.0.0.1:٨٠",
        "127.0.0.1:http",
        "127.0.0.1:" + "9" * 5000,
        "256.0.0.1:80",
        "::1:80",
        "[::1]",
        "[::1:80",
        "[127.0.0.1]:80",
        "[::g]:80",
        "udp:",
        "udp:/run/x.sock",
        "tcp:127.0.0.1:80",
        "relative/path.sock",
        "/",
        "@",
        "/" + "x" * 108,
        "web=",
        "a b=127.0.0.1:80",
    ],
)
def test_address_that_does_not_parse(folder: Path, address: str) -> None:
    line = run(folder, "--name", "x", "--listen", address, "--", *TOUCH)
    assert "127.0.0.1:8000" in line  # an example of what to write


def test_folder_of_the_socket_is_missing(folder: Path) -> None:
    line = run(folder, "--listen", str(folder / "none" / "x.sock"), "--", *TOUCH)
    assert "create it first" in line


def test_address_of_no_interface(folder: Path) -> None:
    line = run(folder, "--listen", "192.0.2.1:8000", "--", *TOUCH)
    assert "no network interface of this machine" in line


def test_the_end_leaves_nothing_in_the_runtime_folder(start: StartService, folder: Path) -> None:
    program = Program(folder)
    service = start(program.command, listen=program.listen)
    assert (service.runtime / service.name / "lock").exists()
    service.stop()
    assert list(service.runtime.iterdir()) == []


def test_a_command_line_longer_than_one_string_can_be(start: StartService, folder: Path) -> None:
    program = Program(folder)
    service = start([*program.command, *["x" * 10_000] * 30], listen=program.listen)
    assert program.ask() == "1"
    assert service.status()["command"][-1] == "x" * 10_000


def test_second_of_that_name(start: StartService, folder: Path) -> None:
    program = Program(folder)
    service = start(program.command, listen=program.listen)
    environment = {"SOCKACT_RUNTIME_DIR": str(service.runtime)}
    again = ("--name", service.name, "--listen", f"127.0.0.1:{wait.free_port()}", "--", *TOUCH)
    line = run(folder, *again, environment=environment)
    assert f"pid {service.process.pid}" in line
    assert "--name" in line
    assert program.ask() == "1"


@pytest.mark.parametrize("parent", ["/proc", "/dev/null"])
def test_runtime_folder_cannot_be_made(folder: Path, parent: str) -> None:
    environment = {"SOCKACT_RUNTIME_DIR": f"{parent}/sockact"}
    arguments = ("--listen", f"127.0.0.1:{wait.free_port()}", "--", *TOUCH)
    line = run(folder, *arguments, environment=environment)
    assert "cannot create" in line
    assert "SOCKACT_RUNTIME_DIR" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_runtime_folder_without_room(folder: Path) -> None:
    mount = "mount -t tmpfs -o size=4k,mode=755 none run && mkdir run/x && echo > run/full"
    (folder / "run").mkdir()
    (folder / "run").chmod(0o755)
    through = ("unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    if subprocess.run([*through, "true"], cwd=folder, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    listen = ("--listen", f"127.0.0.1:{wait.free_port()}")
    line = run(folder, "--name", "x", *listen, "--", *TOUCH, through=through)
    assert "No space left on device" in line
    assert "SOCKACT_RUNTIME_DIR" in line


def test_program_does_not_exist(folder: Path) -> None:
    arguments = ("--listen", f"127.0.0.1:{wait.free_port()}", "--", str(folder / "none"))
    line = run(folder, *arguments)
    assert f"cannot execute {folder / 'none'}: No such file or directory" in line


def test_program_that_binds_nothing(start: StartService, folder: Path) -> None:
    program = Program(folder)
    program.publish("1", "signal.pause()\n")
    service = start(
        program.command, listen=program.listen, options=("--start-timeout", "3s"), ready=False
    )
    assert service.process.wait(10) == 2
    (line,) = messages(service.stderr)
    assert "it bound no address" in line
    assert f"make the program bind 127.0.0.1:{program.port}" in line


def test_program_that_binds_something_else(start: StartService, folder: Path) -> None:
    program = Program(folder)
    other, path = wait.free_port(), folder / "other.sock"
    program.publish(
        "1",
        f"a = bound(('127.0.0.1', {other}))\nb = bound({str(path)!r}, socket.AF_UNIX)\naccept(a)\n",
    )
    service = start(
        program.command, listen=program.listen, options=("--start-timeout", "3s"), ready=False
    )
    assert service.process.wait(10) == 2
    told, line = messages(service.stderr)
    for text in (told, line):
        assert f"127.0.0.1:{other}" in text
        assert str(path) in text


@pytest.mark.parametrize(
    ("listen", "bind", "family", "write"),
    [
        ("[::1]:{port}", "127.0.0.1", "AF_INET", "ListenStream=127.0.0.1:{port}"),
        ("127.0.0.1:{port}", "::1", "AF_INET6", "ListenStream=[::1]:{port}"),
        ("{port}", "0.0.0.0", "AF_INET", "ListenStream=0.0.0.0:{port}"),
    ],
)
@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
def test_family_mismatch(
    start: StartService, folder: Path, listen: str, bind: str, family: str, write: str, adopt: str
) -> None:
    program = Program(folder)
    program.publish("1", f"accept(bound(({bind!r}, {program.port}), socket.{family}))\n")
    options = ("--adopt", adopt, "--start-timeout", "20s")
    listens = (listen.format(port=program.port),)
    service = start(program.command, listen=listens, options=options, ready=False)
    assert service.process.wait(10) != 0
    assert write.format(port=program.port) in service.stderr
