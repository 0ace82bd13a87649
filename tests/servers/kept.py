"""Servers that keep their connections: programs that serve on the listener with the number FD.

Each answers a POST when it has read the request's body; to `/early` it sends the header and half
of its answer before that, and to `/refuse` all of it, reading nothing. A WebSocket at `/ws` gets
back what it sends; the WSGI application only agrees to it.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

# It wants its connections kept, and says so in a header of its own.
APPLICATIONS = """
async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"}) if (await receive()) else None
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    if scope["type"] != "http":
        return
    early, refused = scope["path"] == "/early", scope["path"] == "/refuse"
    while not early and not refused and (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2"), (b"Connection", b"keep-alive")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"o", "more_body": True})
    while early and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.body", "body": b"k"})

def wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/ws":
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        start_response("101 Switching Protocols", upgrade)
        return
    early, refused = environ["PATH_INFO"] == "/early", environ["PATH_INFO"] == "/refuse"
    read = lambda: environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if not early and not refused: read()
    start_response("200 OK", [("Content-Length", "2")])
    yield b"o"
    if early: read()
    yield b"k"
"""
# It binds for itself, and finds itself on the listener, as after an adoption.
BINDS = """
import os, socket, sys
fd = int(sys.argv.pop())
def bind(self, address): os.dup2(fd, self.fileno())
socket.socket.bind, socket.socket.listen = bind, lambda self, *backlog: None
"""
HTTP_SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        read = lambda: self.rfile.read(int(self.headers["Content-Length"]))
        early = self.path == "/early"
        if not early: read()
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.send_header("Connection", "keep-alive")
        self.end_headers()
        self.wfile.write(b"o")
        if early: read()
        self.wfile.write(b"k")
    def do_GET(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""
AIOHTTP = """
import socket, sys
from aiohttp import web
async def answer(request):
    early = request.path == "/early"
    if not early and request.path != "/refuse": await request.read()
    response = web.StreamResponse(headers={"Content-Length": "2"})
    await response.prepare(request)
    await response.write(b"o")
    if early: await request.read()
    await response.write(b"k")
    return response
async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket: await socket.send_str(message.data)
    return socket
app = web.Application()
app.router.add_post("/{path:(early|refuse)?}", answer)
app.router.add_get("/ws", echo)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None, access_log=None)
"""
WAITRESS = """
import applications, socket, sys, waitress
waitress.serve(applications.wsgi, sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
DJANGO = (
    BINDS
    + """
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
def answer(request):
    request.body
    return HttpResponse("ok", headers={"Content-Length": "2"})
def early(request):
    def parts():
        yield b"o"
        request.body
        yield b"k"
    return StreamingHttpResponse(parts(), headers={"Content-Length": "2"})
urlpatterns = [path("", answer), path("early", early)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", USE_TZ=True)
execute_from_command_line(["-", "runserver", "--noreload", "--skip-checks", "127.0.0.1:1"])
"""
)
TORNADO = """
import asyncio, socket, sys
from tornado import httpserver, web, websocket
@web.stream_request_body
class Handler(web.RequestHandler):
    async def prepare(self):
        self.set_header("Content-Length", "2")
        self.set_header("Connection", "keep-alive")
        if self.request.path == "/early": await self.early()
    async def early(self):
        self.write("o")
        self.begun = self.flush()
    def data_received(self, data): pass
    def post(self): self.write("k" if self.request.path == "/early" else "ok")
class Echo(websocket.WebSocketHandler):
    def on_message(self, message): self.write_message(message)
async def main():
    server = httpserver.HTTPServer(web.Application([("/ws", Echo), ("/.*", Handler)]))
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.setblocking(False)
    server.add_sockets([listener])
    await asyncio.Event().wait()
asyncio.run(main())
"""
CHEROOT = (
    BINDS
    + """
import applications, cheroot.wsgi
cheroot.wsgi.Server(("127.0.0.1", 1), applications.wsgi).start()
"""
)
# The main thread, in which the order arrives, only waits.
CHEROOT_IN_A_THREAD = (
    BINDS
    + """
import applications, cheroot.wsgi, threading
server = cheroot.wsgi.Server(("127.0.0.1", 1), applications.wsgi)
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
"""
)
GEVENT = """
import applications, sys
from gevent import pywsgi, socket
listener = socket.socket(fileno=int(sys.argv[1]))
pywsgi.WSGIServer(listener, applications.wsgi, log=None).serve_forever()
"""
TWISTED = """
import os, socket, sys
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
class Answer(Resource):
    isLeaf = True
    def render_POST(self, request):
        request.setHeader("Content-Length", "2")
        request.setHeader("Connection", "keep-alive")
        return b"ok"
os.set_blocking(int(sys.argv[1]), False)
reactor.adoptStreamPort(int(sys.argv[1]), socket.AF_INET, Site(Answer()))
reactor.run()
"""
WERKZEUG = """
import applications, sys
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.protocol_version = "HTTP/1.1"
server = make_server("127.0.0.1", 1, applications.wsgi, threaded=True, fd=int(sys.argv[1]))
server.serve_forever()
"""
# daphne speaks HTTP/2 over TLS alone.
DAPHNE_TLS = (
    BINDS
    + """
from daphne.cli import CommandLineInterface
os.set_blocking(fd, False)
endpoint = "ssl:1:privateKey=certificate.pem:certKey=certificate.pem"
CommandLineInterface().run(["-v0", "-e", endpoint, "applications:asgi"])
"""
)
SANIC = """
import socket, sys
from sanic import Sanic
app = Sanic("kept")
@app.post("/<path:path>", stream=True)
@app.post("/", stream=True, name="root")
async def answer(request, path=""):
    if not path:
        await request.receive_body()
    response = await request.respond(headers={"Content-Length": "2"})
    await response.send("o")
    if path == "early":
        await request.receive_body()
    await response.send("k", end_stream=True)
@app.websocket("/ws")
async def echo(request, ws):
    async for message in ws: await ws.send(message)
listener = socket.socket(fileno=int(sys.argv[1]))
app.run(sock=listener, single_process=True, motd=False, access_log=False)
"""
UVICORN = ("-m", "uvicorn", "--log-level=error", "--fd=FD", "applications:asgi")
GUNICORN = (
    *("-m", "gunicorn", "--log-level=error", "--bind=fd://FD", "--worker-tmp-dir=."),
    # The sync worker waits for a client that says nothing, and would be killed for that: the client
    # gets a 500.
    "--timeout=0",
)
KEEPS = "--keep-alive=30"


@dataclass(frozen=True)
class Server:
    """A program: Python's arguments, its adapter, and the modules that it needs.

    `early`: the application may answer before it has read the request, so that a response can be
    under way when the order comes. `sockets`: it serves WebSockets.
    """

    arguments: tuple[str, ...]
    adapter: str
    needs: tuple[str, ...] = ()
    early: bool = True
    sockets: bool = False

    @property
    def installed(self) -> bool:
        return all(map(_found, self.needs))


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even its package
        return False


def _program(source: str, adapter: str, *, early: bool = True, sockets: bool = False) -> Server:
    needs = () if adapter == "http_server" else (adapter,)
    return Server(("-c", source, "FD"), adapter, needs, early, sockets)


def _uvicorn(http: str, *more: str) -> Server:
    needs = ("uvicorn", "websockets", http, *more)
    loop = "--loop=uvloop" if more else "--loop=asyncio"
    return Server((*UVICORN, f"--http={http}", loop), "uvicorn", needs, sockets=True)


def _gunicorn(worker: str, adapter: str, *needs: str, early: bool = True) -> Server:
    application = "asgi" if "asgi" in worker or "vicorn" in worker else "wsgi"
    arguments = (*GUNICORN, KEEPS, f"-k={worker}", "--threads=4", f"applications:{application}")
    return Server(arguments, adapter, ("gunicorn", *needs), early, application == "asgi")


def _gunicorn_h2(worker: str) -> Server:
    plain = _gunicorn(worker, "h2", "gunicorn.http2", "h2").arguments
    cleartext = ("--http-protocols=h2,h1", "--http2-cleartext=prior-knowledge")
    return Server((*plain[:-1], *cleartext, plain[-1]), "h2", ("gunicorn", "gunicorn.http2", "h2"))


SERVERS = {
    "http_server": _program(HTTP_SERVER, "http_server"),
    "django": _program(DJANGO, "django"),
    "uvicorn-h11": _uvicorn("h11"),
    "uvicorn-httptools": _uvicorn("httptools", "uvloop"),
    "uvicorn-zttp": _uvicorn("zttp"),
    "gunicorn-gthread": _gunicorn("gthread", "gunicorn"),
    "gunicorn-gevent": _gunicorn("gevent", "gunicorn", "gevent"),
    "gunicorn-pywsgi": _gunicorn("gevent_pywsgi", "gevent", "gevent"),
    "gunicorn-tornado": _gunicorn("tornado", "tornado", "tornado", early=False),
    "gunicorn-asgi": _gunicorn("asgi", "gunicorn_asgi", "gunicorn.asgi"),
    "gunicorn-uvicorn": _gunicorn("uvicorn.workers.UvicornWorker", "uvicorn", "uvicorn"),
    "hypercorn": Server(
        ("-m", "hypercorn", "--bind=fd://FD", "--log-level=error", "applications:asgi"),
        "hypercorn",
        ("hypercorn",),
        sockets=True,
    ),
    "daphne": Server(
        ("-m", "daphne", "-v0", "--fd=FD", "applications:asgi"),
        "twisted",
        ("daphne",),
        early=False,
        sockets=True,
    ),
    "aiohttp": _program(AIOHTTP, "aiohttp", sockets=True),
    "tornado": _program(TORNADO, "tornado", sockets=True),
    "sanic": _program(SANIC, "sanic", sockets=True),
    "twisted": _program(TWISTED, "twisted", early=False),
    "waitress": _program(WAITRESS, "waitress", early=False),
    "cheroot": _program(CHEROOT, "cheroot", early=False),
    "cheroot-in-a-thread": _program(CHEROOT_IN_A_THREAD, "cheroot", early=False),
    "gevent": _program(GEVENT, "gevent"),
}

# They close each connection after its first response, and say so.
CLOSING_SERVERS = {
    "werkzeug": Server(("-c", WERKZEUG, "FD"), "http_server", ("werkzeug",)),
    "gunicorn-sync": Server((*GUNICORN, "applications:wsgi"), "gunicorn", ("gunicorn",)),
}

# Over HTTP/2: with prior knowledge, where nothing else is said.
HTTP2_SERVERS = {
    "hypercorn": Server(SERVERS["hypercorn"].arguments, "h2", ("hypercorn", "h2")),
    "gunicorn-gthread": _gunicorn_h2("gthread"),
    "gunicorn-asgi": _gunicorn_h2("asgi"),
    "daphne-tls": Server(("-c", DAPHNE_TLS, "FD"), "h2", ("daphne", "h2", "OpenSSL")),
    "uvicorn-zttp": Server((*UVICORN, "--http=zttp", "--http2"), "uvicorn_h2", ("uvicorn", "zttp")),
}
