"""Each worker of real servers is warmed up before a client reaches any of them."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import connect, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# Until the file GATE is there, each answer of a worker takes longer than the one before, so they do
# not settle. Even so it ends: if one worker has accepted all connections, the other one gets the
# next.
COLD = """
import os, time
asked = 0

def note(path):
    with open(LOG, "ab", buffering=0) as log:
        log.write(f"{os.environ['SOCKACT_GENERATION']} {os.getpid()} {path}\\n".encode())

def answer(path):
    global asked
    note(path)
    asked += os.environ["SOCKACT_GENERATION"] != "1"
    until = time.monotonic() + 0.3 * asked
    while time.monotonic() < until and not os.path.exists(GATE):
        time.sleep(0.01)
    return os.environ["SOCKACT_GENERATION"].encode()

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [answer(environ["PATH_INFO"])]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        body = answer(scope["path"])
        headers = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
"""
SERVERS = {
    "gunicorn": ("gunicorn", "--workers", "2", "--bind", "127.0.0.1:PORT", "cold:wsgi"),
    "uvicorn": ("uvicorn", "--port", "PORT", "cold:asgi"),
    "uvicorn workers": ("uvicorn", "--workers", "2", "--port", "PORT", "cold:asgi"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_each_worker_is_warm(start: StartService, folder: Path, server: str) -> None:
    module, *words = SERVERS[server]
    pytest.importorskip(module)
    port, log, gate = wait.free_port(), folder / "log", folder / "gate"
    (folder / "cold.py").write_text(f"LOG, GATE = {str(log)!r}, {str(gate)!r}\n{COLD}")
    log.touch()
    service = start(
        [sys.executable, "-m", module, *(word.replace("PORT", str(port)) for word in words)],
        listen=(f"127.0.0.1:{port}",),
        options=(
            *("--lanes", "require", "--warm", f"http://127.0.0.1:{port}/warm"),
            *("--warm-timeout", "2min"),
        ),
        environment={**os.environ, "PYTHONPATH": str(folder)},
    )

    def ask() -> str:
        with connect(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /client HTTP/1.0\r\n\r\n")
            return read_all(sock)[-1]

    def second() -> list[list[str]]:
        lines = [line.split() for line in log.read_text().splitlines()]
        return [rest for generation, *rest in lines if generation == "2"]

    workers = 2 if "2" in words else 1
    service.signal(signal.SIGHUP)
    wait.until(lambda: len({pid for pid, _ in second()}) == workers, "a request in each worker")
    assert ask() == "1"
    assert {path for _, path in second()} == {"/warm"}
    gate.touch()
    wait.until(lambda: ask() == "2", "the switch")
    paths = [path for _, path in second()]
    assert "/warm" not in paths[paths.index("/client") :]
