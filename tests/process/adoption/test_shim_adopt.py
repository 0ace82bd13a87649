"""Adoption by the shim, where seccomp is refused: binds of programs and of real servers."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from tests.process.adoption.test_shim_wire import Program, Run, Supervisor, run, supervisor
from tests.process.gates.gated import Listener, listener
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["listener", "run", "supervisor"]  # fixtures

ADOPT = {"SOCKACT_ADOPT": "1"}
BIND = "own = socket.socket(); own.bind(('127.0.0.1', {port}))"

APPLICATIONS = """
async def asgi(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
START_SERVER = """
import asyncio, sys
async def serve(reader, writer):
    await reader.read(4096); writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nok"); writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""
WAITRESS = """
import applications, sys, waitress
waitress.serve(applications.wsgi, listen="127.0.0.1:" + sys.argv[1])
"""
UVICORN = ["-m", "uvicorn", "--log-level=error", "--port=PORT", "applications:asgi"]
GUNICORN = ["-m", "gunicorn", "--worker-tmp-dir=.", "--log-level=error"]
SERVERS = {
    "http.server": ["-m", "http.server", "--bind=127.0.0.1", "PORT"],
    "start_server": ["-c", START_SERVER, "PORT"],
    "uvicorn": [*UVICORN, "--loop=asyncio"],
    "uvicorn-uvloop": [*UVICORN, "--loop=uvloop"],
    "uvicorn-workers": [*UVICORN, "--loop=asyncio", "--workers=2"],
    "gunicorn": [*GUNICORN, "--bind=127.0.0.1:PORT", "applications:wsgi"],
    "gunicorn-gthread": [*GUNICORN, "--bind=127.0.0.1:PORT", "--threads=2", "applications:wsgi"],
    "waitress": ["-c", WAITRESS, "PORT"],
}


def port_of(listener: Listener) -> int:
    return int(listener.socket.getsockname()[1])


def backlog(sock: socket.socket) -> int:
    """Of a listening socket, as its tcp_info has it (tcpi_sacked)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return int(struct.unpack_from("I", info, 28)[0])


def answer(supervisor: Supervisor, text: str, fds: Sequence[int] = ()) -> str:
    """Answer a program's question, and return that."""
    conversation = supervisor.accept()
    question = conversation.receive()
    conversation.send(text, fds)
    conversation.close()
    return question


def obedient(run: Run, **more: str) -> Program:
    return run.obedient(environment={**ADOPT, **more})


def test_adopts(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = obedient(run)
    port, before = port_of(listener), backlog(listener.socket)
    program.do("own = socket.socket(); own.setblocking(False); number = own.fileno()")
    program.begin(f"own.bind(('127.0.0.1', {port}))")
    question = answer(supervisor, "adopt", [listener.socket.fileno()])
    assert question == f"bind {program.pid} inet stream 127.0.0.1 {port}"
    assert program.finish() is None
    assert program.do("result = own.fileno() == number, own.getsockname()[1]") == (True, port)
    assert program.do("result = os.fstat(number).st_ino") == listener.inode
    assert program.do("result = os.get_blocking(number), os.get_inheritable(number)") == (
        False,
        False,
    )
    program.do("own.listen(1); own.dup().listen(2)")
    assert backlog(listener.socket) == before
    listener.connect()
    assert program.do("result = int(own.accept()[0].family)") == socket.AF_INET


def test_a_blocking_socket_does_not_change_the_listener(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = obedient(run)
    os.set_blocking(listener.socket.fileno(), False)
    program.begin(BIND.format(port=port_of(listener)))
    answer(supervisor, "adopt", [listener.socket.fileno()])
    assert program.finish() is None
    assert not os.get_blocking(listener.socket.fileno())


def test_passes(run: Run, supervisor: Supervisor) -> None:
    program = obedient(run)
    port = wait.free_port()
    program.begin(BIND.format(port=port))
    answer(supervisor, "pass")
    assert program.finish() is None
    assert program.do("own.listen(5); result = own.getsockname()") == ("127.0.0.1", port)
    socket.create_connection(("127.0.0.1", port)).close()


def test_refuses(run: Run, supervisor: Supervisor) -> None:
    program = obedient(run)
    program.do("own = socket.socket()")
    program.begin("result = attempt(own.bind, ('127.0.0.1', 1))")
    answer(supervisor, f"refuse {errno.EADDRNOTAVAIL} write ListenStream=127.0.0.1:1")
    error = ("OSError", (errno.EADDRNOTAVAIL, "write ListenStream=127.0.0.1:1"))
    assert program.finish() == error


def test_binds_itself_without_a_supervisor(run: Run, supervisor: Supervisor) -> None:
    program = obedient(run)
    supervisor.close()
    port = wait.free_port()
    program.do(BIND.format(port=port))
    assert program.do("result = own.getsockname()[1]") == port


@pytest.mark.parametrize(
    ("family", "kind", "address", "words"),
    [
        ("INET", "STREAM", "('', 8000)", "inet stream 0.0.0.0 8000"),
        ("INET", "STREAM", "('localhost', 8000)", "inet stream 127.0.0.1 8000"),
        ("INET", "DGRAM", "(b'127.0.0.1', 8000)", "inet datagram 127.0.0.1 8000"),
        ("INET6", "STREAM", "('', 8000)", "inet6 stream :: 8000"),
        ("INET6", "STREAM", "('0::1', 8000, 0, 0)", "inet6 stream ::1 8000"),
        ("UNIX", "STREAM", "'/a/../run/x'", f"unix stream {b'/run/x'.hex()}"),
        ("UNIX", "STREAM", "b'x'", f"unix stream {b'/x'.hex()}"),
        ("UNIX", "DGRAM", "'\\0x'", "unix datagram 0078"),
    ],
)
def test_asks_for_what_the_program_means(
    run: Run, supervisor: Supervisor, family: str, kind: str, address: str, words: str
) -> None:
    program = obedient(run)
    program.do("os.chdir('/')")
    program.begin(f"s = socket.socket(socket.AF_{family}, socket.SOCK_{kind}); s.bind({address})")
    assert answer(supervisor, "refuse 13 no") == f"bind {program.pid} {words}"


def test_does_not_ask_for_what_no_listener_can_be(run: Run, supervisor: Supervisor) -> None:
    program = obedient(run)
    program.do("socket.socket().bind(('127.0.0.1', 0)); socket.socket(socket.AF_UNIX).bind('')")
    assert not wait.readable(supervisor.fileno(), timeout=0)


def test_wrong_calls_fail_as_they_did(run: Run) -> None:
    calls = [
        "bind, 1",
        "bind, ('x',)",
        "bind, ('127.0.0.1', 'http')",
        "listen, 'x'",
        "listen, None",
    ]
    errors = []
    for environment in ({}, ADOPT):
        program = run.obedient(environment=environment)
        program.do("own = socket.socket()")
        errors.append([program.do(f"result = attempt(own.{call})") for call in calls])
        assert program.do("result = attempt(own.bind)[0]") == "TypeError"
    assert errors[0] == errors[1]


def test_a_spawned_process_recognises_the_listener(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = run.obedient(environment=ADOPT, pass_fds=[int(listener.fd)])
    before = backlog(listener.socket)
    program.begin(f"own = socket.socket(fileno={listener.fd}); own.listen(1)")
    question = answer(supervisor, "adopt", [listener.socket.fileno()])
    assert question == f"bind {program.pid} inet stream 127.0.0.1 {port_of(listener)}"
    assert program.finish() is None
    assert backlog(listener.socket) == before


@pytest.fixture
def unix(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket"))
        sock.listen()
        yield sock


def test_a_unix_listener_keeps_its_file(
    run: Run, supervisor: Supervisor, unix: socket.socket, folder: Path
) -> None:
    path = folder / "socket"
    (folder / "link").symlink_to(folder)
    program = obedient(run, SOCKACT_UNIX=f"/run/other:{path}")
    program.do(f"import pathlib, shutil; os.chdir({str(folder)!r})")
    for removal in (
        "os.unlink('socket')",
        f"os.remove({bytes(path)!r})",
        "os.unlink('link/socket')",
    ):
        program.do(removal)
        assert path.is_socket()
    program.begin(f"own = socket.socket(socket.AF_UNIX); own.bind({str(path)!r})")
    answer(supervisor, "adopt", [unix.fileno()])
    program.finish()
    program.do("own.listen(1); client = socket.socket(socket.AF_UNIX)")
    program.do(
        f"client.connect({str(path)!r}); own.accept(); own.close(); os.unlink({str(path)!r})"
    )
    assert path.is_socket()


def test_other_files_are_removed_by_the_program(
    run: Run, supervisor: Supervisor, folder: Path
) -> None:
    program = obedient(run, SOCKACT_UNIX=f"{folder}/socket")
    (folder / "tree" / "socket").mkdir(parents=True)
    (folder / "tree" / "socket" / "socket").touch()
    program.do(f"import shutil; os.chdir({str(folder)!r}); shutil.rmtree('tree')")
    assert not (folder / "tree").exists()
    assert program.do("result = shutil.rmtree.avoids_symlink_attacks")
    assert program.do("result = attempt(os.unlink, 'none')[1][0]") == errno.ENOENT


@pytest.mark.parametrize("name", SERVERS)
def test_real_servers(
    run: Run, supervisor: Supervisor, listener: Listener, folder: Path, name: str
) -> None:
    for module in name.split("-"):
        if module in ("uvicorn", "uvloop", "gunicorn", "waitress"):
            pytest.importorskip(module)
    (folder / "applications.py").write_text(APPLICATIONS)
    port, before = str(port_of(listener)), backlog(listener.socket)
    arguments = [argument.replace("PORT", port) for argument in SERVERS[name]]
    run(*arguments, environment=ADOPT, python=sys.executable, path=[str(folder)])
    client = listener.connect()
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    while client.fileno() not in (ready := wait.readable(supervisor.fileno(), client.fileno())):
        assert ready, "neither a bind nor an answer"
        answer(supervisor, "adopt", [listener.socket.fileno()])
    assert client.recv(4096).startswith(b"HTTP/1.")
    if name != "uvicorn-uvloop":  # libuv calls listen() itself
        assert backlog(listener.socket) == before
