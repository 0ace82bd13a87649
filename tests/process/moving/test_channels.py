"""Connections that programs with the shim accept from a channel, without a tracer."""

from __future__ import annotations

import http.client
import ipaddress
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.process.moving import servers
from tests.process.moving.conftest import ON, process
from tests.process.moving.visitors import REQUEST, Visitors, ask
from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.process.moving.conftest import Scene

COUNT = 30
# A seccomp filter of its own, which allows everything: nothing is delivered by a tracer then.
FILTER = """
import ctypes
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
allow = ctypes.create_string_buffer((6).to_bytes(4, "little") + (0x7fff0000).to_bytes(4, "little"))
program = Program(1, ctypes.addressof(allow))
libc = ctypes.CDLL(None, use_errno=True)
assert not libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
assert not libc.prctl(22, 2, ctypes.byref(program), 0, 0)  # PR_SET_SECCOMP
"""
# Says who the client is, and what the process has besides its clients.
SHOWS = """
import os, socket
async def app(scope, receive, send):
    assert scope["type"] == "http"
    patched = "_accept" in vars(socket.socket)
    open_fds = sum(os.readlink(f"/proc/self/fd/{fd}")[:7] != "socket:" for fd in range(3, 64)
                   if os.path.islink(f"/proc/self/fd/{fd}"))
    body = f"{os.getpid()} {scope['client'][0]} {scope['client'][1]} {patched} {open_fds}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
PYTHON = ("uvicorn on asyncio", "uvicorn on uvloop", "aiohttp", "gunicorn gthread")


@pytest.mark.parametrize("name", PYTHON)
def test_no_tracer_is_needed(name: str, start: StartService, folder: Path) -> None:
    servers.prepare(name, folder)
    (folder / "sitecustomize.py").write_text(FILTER)
    port = wait.free_port()
    service = start(
        servers.command(name, port),
        listen=(f"127.0.0.1:{port}",),
        options=("--move-connections", "on", "--directory", str(folder)),
        environment={**os.environ, "PYTHONPATH": str(folder)},
    )
    with Visitors(("127.0.0.1", port), COUNT, ask) as guests:
        guests.wait_for(2)
        for _ in range(2):
            assert service.reload().code == 0, service.stderr
            service.wait_drained()
            guests.wait_for(2)
    assert service.stderr.count(f"{COUNT} connections moved to generation") == 2


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_program_sees_its_client_and_nothing_else(
    loop: str, host: str, start: StartService, folder: Path
) -> None:
    (folder / "asgi.py").write_text(SHOWS)
    port = wait.free_port()
    address = f"[{host}]:{port}" if ipaddress.ip_address(host).version == 6 else f"{host}:{port}"
    service = start(
        [*servers.UVICORN, f"--loop={loop}", f"--host={host}", "asgi:app", f"--port={port}"],
        listen=(address,),
        options=(*ON, "--directory", str(folder)),
    )
    answers: list[list[str]] = []

    def visit(client: object) -> None:
        own = client.getsockname()[:2]  # type: ignore[attr-defined]
        answer = ask(client).decode().split()  # type: ignore[arg-type]
        assert answer[1:3] == [own[0], str(own[1])]
        answers.append(answer)

    with Visitors((host, port), 3, visit) as guests:
        guests.wait_for(2)
        before = answers[-1]
        assert service.reload().code == 0, service.stderr
        service.wait_drained()
        # What was replaced is as before, and nothing is left open.
        wait.until(lambda: answers[-1][3:] == before[3:], "the program to be as before")
    assert answers[-1][0] != before[0]
    assert "3 connections moved to generation 2" in service.stderr


def test_what_was_not_accepted_goes_back(scene: Scene) -> None:
    scene.run()
    client, before = scene.visitor()
    scene.reload()
    after = _successor(scene)
    os.kill(after, signal.SIGSTOP)
    try:
        assert process(client) == before
        assert scene.moving()["returned"] == 1
    finally:
        os.kill(after, signal.SIGCONT)


def test_the_end_of_the_supervisor(scene: Scene) -> None:
    """What waits in a channel then is accepted, or answered by the process that had it."""
    scene.run()
    client, before = scene.visitor()
    scene.reload()
    after = _successor(scene)
    os.kill(after, signal.SIGSTOP)
    held = len(os.listdir(f"/proc/{scene.service.process.pid}/fd"))
    client.sendall(REQUEST)
    wait.until(
        lambda: len(os.listdir(f"/proc/{scene.service.process.pid}/fd")) > held,
        "the supervisor to have the connection",
    )
    scene.service.process.kill()
    os.kill(after, signal.SIGCONT)
    response = http.client.HTTPResponse(client)
    response.begin()
    assert int(response.read()) in (before, after)
    for pid in before, after:
        os.kill(pid, signal.SIGKILL)
    scene.service.process.wait()
    scene.service.remove_sockets()


def _successor(scene: Scene) -> int:
    generations = scene.service.status()["generations"]
    pid: int = next(one["pid"] for one in generations if one["state"] == "running")
    return pid
