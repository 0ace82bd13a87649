"""Connections are delivered into real servers, which answer requests on them."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.handover.interest import waiting
from sockact.kernel import procfs
from tests.support import wait
from tests.support.child import inode
from tests.support.delivered import Connections, Delivered
from tests.support.kept_client import THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 20
FILES = {
    "asgi.py": """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    assert scope["client"] is not None
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})
""",
    "wsgi.py": """
def app(environment, start):
    start("200 OK", [("Content-Length", "2")])
    return [b"ok"]
""",
    "aio.py": """
import socket, sys
from aiohttp import web
async def answer(request):
    return web.Response(text="ok")
app = web.Application()
app.router.add_get("/", answer)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None)
""",
    "threads.py": THREADS
    + """
import socket, sys
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
""",
    "node.js": """
require("http").createServer((request, response) => {
    response.setHeader("Content-Length", 2)
    response.end("ok")
}).listen({fd: Number(process.argv[2])})
""",
    "server.go": """
package main
import ("net"; "net/http"; "os"; "strconv")
func answer(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok")) }
func main() {
    number, _ := strconv.Atoi(os.Args[1])
    listener, err := net.FileListener(os.NewFile(uintptr(number), "listener"))
    if err != nil { panic(err) }
    panic(http.Serve(listener, http.HandlerFunc(answer)))
}
""",
}
PYTHON = [sys.executable, "-W", "ignore"]
GUNICORN = [*PYTHON, "-m", "gunicorn", "--bind=fd://LFD", "--log-level=critical"]
GTHREAD = ["--worker-class=gthread", "--threads=4", "--keep-alive=60", "--no-control-socket"]
UVICORN = [*PYTHON, "-m", "uvicorn", "--fd=LFD", "--lifespan=off", "--log-level=critical"]
SERVERS = {
    "uvicorn on asyncio": [*UVICORN, "--loop=asyncio", "asgi:app"],
    "uvicorn on uvloop": [*UVICORN, "--loop=uvloop", "asgi:app"],
    "gunicorn gthread": [*GUNICORN, *GTHREAD, "wsgi:app"],
    "aiohttp": [*PYTHON, "aio.py", "LFD"],
    "http.server": [*PYTHON, "threads.py", "LFD"],
    "node": ["node", "node.js", "LFD"],
    "go": ["./server", "LFD"],
}


@pytest.fixture
def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the programs, which is the working directory."""
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    return folder


def has(name: str) -> bool:
    if name == "uvicorn on uvloop":
        return subprocess.run([*PYTHON, "-c", "import uvloop"], stderr=-3).returncode == 0
    return name not in ("node", "go") or shutil.which(name) is not None


class Servers:
    """Servers of one kind on one listener."""

    def __init__(self, name: str) -> None:
        self._command = SERVERS[name]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(name == "http.server")
        self._started: list[Delivered] = []

    def start(self) -> Delivered:
        """Start one, and wait until it waits for connections."""
        program = Delivered(self.listener, self._command)
        self._started.append(program)
        with program.answered():
            wait.until(lambda: bool(workers(program)), "it to wait for connections")
        return program

    def kill(self, program: Delivered) -> None:
        """Kill one of them."""
        self._started.remove(program)
        program.close()

    def close(self) -> None:
        """Kill all of them."""
        for program in self._started:
            program.close()
        self.listener.close()


@pytest.fixture(params=SERVERS)
def servers(request: pytest.FixtureRequest, place: Path) -> Iterator[Servers]:
    """Servers of each kind."""
    if not has(request.param):
        pytest.skip("not installed")
    if request.param == "go":
        subprocess.run(["go", "build", "-o", "server", "server.go"], check=True)
    made = Servers(request.param)
    yield made
    made.close()


def workers(program: Delivered) -> list[int]:
    """The processes that accept."""
    found = [program.pid, *procfs.children(program.pid)]
    return sorted(waiting(found, {inode(program.listener)}))


def ask(connection: socket.socket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.read()


def test_it_answers_on_connections_that_it_did_not_get_from_its_listener(servers: Servers) -> None:
    server = servers.start()
    with Connections() as made:
        clients = made.make(COUNT)
        assert server.deliver(made.accepted, workers(server)[-1]) == ""
        for one in made.accepted:
            one.close()  # Only the server has them now.
        with server.answered():
            for _ in range(2):
                assert [ask(client) for client in clients] == [b"ok"] * COUNT
            with socket.create_connection(server.listener.getsockname(), wait.TIMEOUT) as client:
                assert ask(client) == b"ok"
