"""The drain order, with real servers and clients that keep their connections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.process.test_shim_gate import Listener, listener
from tests.process.test_shim_wire import Program, Run, Supervisor, has_shim, run, supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["listener", "run", "supervisor"]  # fixtures

# Each answers when it has read the request's body, and says which connection it wants.
APPLICATIONS = """
async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2"), (b"Connection", b"keep-alive")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})

def wsgi(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
HTTP_SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Connection", "keep-alive")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""
AIOHTTP = """
import socket, sys
from aiohttp import web
async def answer(request):
    await request.read()
    return web.Response(text="ok")
app = web.Application()
app.router.add_post("/", answer)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None, access_log=None)
"""
WAITRESS = """
import applications, socket, sys, waitress
waitress.serve(applications.wsgi, sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
# It binds for itself, and finds itself on the listener, as after an adoption.
DJANGO = """
import os, socket, sys
fd = int(sys.argv.pop())
def bind(self, address): os.dup2(fd, self.fileno())
socket.socket.bind, socket.socket.listen = bind, lambda self, *backlog: None
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path
def answer(request):
    request.body
    return HttpResponse("ok", headers={"Content-Length": "2"})
urlpatterns = [path("", answer)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", USE_TZ=True)
execute_from_command_line(["-", "runserver", "--noreload", "--skip-checks", "127.0.0.1:1"])
"""
UVICORN = ["-m", "uvicorn", "--log-level=error", "--fd=FD", "applications:asgi"]
GUNICORN = ["-m", "gunicorn", "--log-level=error", "--bind=fd://FD", "--worker-tmp-dir=."]

SERVERS = {
    "http_server": ["-c", HTTP_SERVER, "FD"],
    "django": ["-c", DJANGO, "FD"],
    "uvicorn-h11": [*UVICORN, "--http=h11", "--loop=asyncio"],
    "uvicorn-httptools": [*UVICORN, "--http=httptools", "--loop=uvloop"],
    "gunicorn-gthread": [*GUNICORN, "--threads=4", "--keep-alive=30", "applications:wsgi"],
    "gunicorn-uvicorn": [*GUNICORN, "-k=uvicorn.workers.UvicornWorker", "applications:asgi"],
    "aiohttp": ["-c", AIOHTTP, "FD"],
    "waitress": ["-c", WAITRESS, "FD"],
}


class Client:
    """A client that keeps its connection."""

    def __init__(self, listener: Listener) -> None:
        self._socket = listener.connect()
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def begin(self) -> None:
        """Send a request but its last byte."""
        self._socket.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nx")

    def finish(self) -> bool:
        """Send the last byte. Whether the answer, which is whole and right, ends the connection."""
        self._socket.sendall(b"y")
        assert self._answers.readline().split()[:2] == [b"HTTP/1.1", b"200"]
        headers = [(name.lower(), value.strip().lower()) for name, value in self._headers()]
        assert self._answers.read(2) == b"ok"
        connection = [value for name, value in headers if name == b"connection"]
        assert connection in ([], [b"keep-alive"], [b"close"])
        return connection == [b"close"]

    def _headers(self) -> Iterator[tuple[bytes, bytes]]:
        for line in iter(self._answers.readline, b"\r\n"):
            name, _, value = line.partition(b":")
            yield name, value

    def ask(self) -> bool:
        self.begin()
        return self.finish()

    def at_end(self) -> bool:
        """Whether the server closed the connection, with no byte too many. Closes it here too."""
        end = self._answers.read(1) == b""
        self.close()  # as clients do; gunicorn's main thread waits for it
        return end


@pytest.fixture(params=SERVERS)
def name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    for module in name.split("-"):
        if module in ("uvicorn", "httptools", "gunicorn", "aiohttp", "waitress", "django"):
            pytest.importorskip(module)
    return name


@pytest.fixture
def server(name: str, run: Run, listener: Listener, folder: Path) -> Program:
    (folder / "applications.py").write_text(APPLICATIONS)
    arguments = [argument.replace("FD", listener.fd) for argument in SERVERS[name]]
    return run(*arguments, pass_fds=[int(listener.fd)], python=sys.executable, path=[str(folder)])


@pytest.fixture
def clients(server: Program, listener: Listener) -> Iterator[list[Client]]:
    made = [Client(listener) for _ in range(3)]
    yield made
    for client in made:
        client.close()


def drain(program: Program, supervisor: Supervisor) -> str:
    """Drain all processes. Returns what the youngest answers, the one that serves."""
    family = psutil.Process(program.pid)
    pids = [program.pid, *(child.pid for child in family.children(recursive=True))]
    answers = [supervisor.order(pid, "drain") for pid in pids if has_shim(pid)]
    return answers[-1][0]


def test_connections_end_after_their_next_answer(
    name: str, server: Program, supervisor: Supervisor, clients: list[Client]
) -> None:
    for _ in range(2):
        assert not any(client.ask() for client in clients)
    busy, *idle = clients
    busy.begin()
    adapters = drain(server, supervisor).split()[2:]
    assert name.split("-")[-1 if name.startswith("gunicorn-u") else 0] in adapters
    assert not any("!" in adapter for adapter in adapters)
    for client in idle:
        assert client.ask()
        assert client.at_end()
    assert busy.finish() or busy.ask(), "the answer that was under way, or the next"
    assert busy.at_end()


def test_a_new_connection_ends_too(
    server: Program, supervisor: Supervisor, listener: Listener, clients: list[Client]
) -> None:
    assert not clients[0].ask()
    drain(server, supervisor)
    drain(server, supervisor)
    late = Client(listener)
    assert late.ask()
    assert late.at_end()
    late.close()
