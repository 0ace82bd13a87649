"""Connections are delivered into real servers, which answer requests on them."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from sockact.handover import gate
from sockact.handover.delivery.parked import Parked
from sockact.handover.interest import waiting
from sockact.kernel import procfs
from tests.support import wait
from tests.support.child import inode
from tests.support.delivered import Connections, Delivered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 20
PAUSE = 0.02
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
    "threads.py": """
import socket, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass
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

MOVABLE = ["uvicorn on asyncio", "uvicorn on uvloop", "aiohttp", "node", "go"]
"""Servers whose quiet connections are in epoll."""


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


class Visitors:
    """Clients on kept connections that go on asking, each as soon as it has its answer."""

    def __init__(self, listener: socket.socket, count: int) -> None:
        self._end = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        address = listener.getsockname()
        self._threads = [threading.Thread(target=self._visit, args=[address]) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _visit(self, address: tuple[str, int]) -> None:
        try:
            with socket.create_connection(address, wait.TIMEOUT) as client:
                while not self._end.is_set():
                    assert ask(client) == b"ok"
                    self.answers += 1
                    self._end.wait(PAUSE)
        except Exception as error:
            self.failures.append(repr(error))

    def wait_for(self, answers: int) -> None:
        """Wait until they have got so many answers more."""
        wanted = self.answers + answers
        wait.until(lambda: self.failures or self.answers >= wanted, "answers")

    def leave(self) -> None:
        """Let them go."""
        self._end.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("servers", MOVABLE, indirect=True)
def test_clients_do_not_notice_that_their_server_is_replaced(servers: Servers) -> None:
    """Their connections are parked, and go to the new one with the next request."""
    old = servers.start()
    with old.answered():
        visitors = Visitors(servers.listener, COUNT)
        visitors.wait_for(3 * COUNT)
        new = servers.start()
        listeners = {inode(servers.listener): servers.listener.fileno()}
        gate.close(gate.entries(workers(old), {*listeners}), listeners)
        visitors.wait_for(COUNT)
        move_all(old, new)
    servers.kill(old)
    with new.answered():
        visitors.wait_for(3 * COUNT)
        visitors.leave()
    assert visitors.failures == []


def move_all(old: Delivered, new: Delivered) -> None:
    """Move the connections of a server that has closed its gate."""
    found = [old.pid, *procfs.children(old.pid)]
    sockets = {its for pid in found for its in procfs.sockets(pid).values()}
    entries = gate.entries(found, sockets - {inode(old.listener)})
    entries = [one for one in entries if procfs.socket_protocol(one.pid, one.fd) == "TCP"]
    assert len(entries) == COUNT
    parked = Parked(entries)
    waiting: dict[int, socket.socket] = {}
    left = COUNT
    while left:
        if wait.readable(parked.fileno(), timeout=0 if waiting else wait.TIMEOUT):
            for news in parked.news() or []:
                assert news.fd is not None
                waiting[news.index] = socket.socket(fileno=news.fd)
        for index in taken(new, waiting):
            parked.delivered(index)
            waiting.pop(index).close()
            left -= 1
    parked.end()
    os.waitpid(parked.pid, 0)
    parked.close()


def taken(server: Delivered, connections: dict[int, socket.socket]) -> list[int]:
    """Deliver connections to a server; return which of them it has accepted."""
    pid = wait.until(lambda: max(workers(server), default=None), "it to wait for connections")
    server.deliver([*connections.values()], pid)
    return [index for index, one in connections.items() if one.fileno() in server.taken]
