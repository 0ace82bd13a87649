"""Servers whose requests are counted: programs that serve on the listener with the number FD.

`/200`, `/404` and `/500` get that status, `/slow` gets 200 after SECONDS. The application fails at
`/raise` before its response and at `/cut` within it. At `/wait`, ASGI applications wait within the
response until the client leaves.
"""

from __future__ import annotations

from tests.servers import kept
from tests.servers.kept import Server

SECONDS = 0.05

APPLICATIONS = f"""
import asyncio, time
async def asgi(scope, receive, send):
    if scope["type"] != "http": return
    what = scope["path"][1:]
    if what == "raise": raise ValueError("on purpose")
    if what == "slow": await asyncio.sleep({SECONDS})
    status = int(what) if what.isdigit() else 200
    headers = [] if what == "cut" else [(b"content-length", b"2")]
    await send({{"type": "http.response.start", "status": status, "headers": headers}})
    await send({{"type": "http.response.body", "body": b"o", "more_body": True}})
    if what == "cut": raise ValueError("on purpose")
    while what == "wait" and (await receive())["type"] != "http.disconnect": pass
    await send({{"type": "http.response.body", "body": b"k"}})

def wsgi(environ, start_response):
    what = environ["PATH_INFO"][1:]
    if what == "raise": raise ValueError("on purpose")
    if what == "slow": time.sleep({SECONDS})
    status = what if what.isdigit() else "200"
    start_response(status + " Whatever", [] if what == "cut" else [("Content-Length", "2")])
    yield b"o"
    if what == "cut": raise ValueError("on purpose")
    yield b"k"
"""
HTTP_SERVER = f"""
import http.server, socket, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        what = self.path[1:]
        if what == "raise": raise ValueError("on purpose")
        if what == "slow": time.sleep({SECONDS})
        self.send_response(int(what) if what.isdigit() else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"o")
        if what == "cut": raise ValueError("on purpose")
        self.wfile.write(b"k")
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""
WSGIREF = (
    kept.BINDS
    + """
import applications
from wsgiref.simple_server import make_server
make_server("127.0.0.1", 1, applications.wsgi).serve_forever()
"""
)
DJANGO = (
    kept.BINDS
    + f"""
import time
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path
def parts():
    yield b"o"
    raise ValueError("on purpose")
def answer(request, what):
    if what == "raise": raise ValueError("on purpose")
    if what == "cut": return StreamingHttpResponse(parts())
    if what == "slow": time.sleep({SECONDS})
    return HttpResponse("ok", status=int(what) if what.isdigit() else 200)
urlpatterns = [path("<str:what>", answer)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="test", USE_TZ=True)
execute_from_command_line(["-", "runserver", "--noreload", "--skip-checks", "127.0.0.1:1"])
"""
)
AIOHTTP = f"""
import asyncio, socket, sys
from aiohttp import web
async def answer(request):
    what = request.match_info["what"]
    if what == "raise": raise ValueError("on purpose")
    if what == "slow": await asyncio.sleep({SECONDS})
    if what == "404": raise web.HTTPNotFound()
    response = web.StreamResponse(status=int(what) if what.isdigit() else 200)
    await response.prepare(request)
    await response.write(b"o")
    if what == "cut": raise ValueError("on purpose")
    await response.write(b"k")
    return response
app = web.Application()
app.router.add_get("/{{what}}", answer)
web.run_app(app, sock=socket.socket(fileno=int(sys.argv[1])), print=None, access_log=None)
"""
TORNADO = f"""
import asyncio, socket, sys
from tornado import httpserver, web
class Handler(web.RequestHandler):
    async def get(self, what):
        if what == "raise": raise ValueError("on purpose")
        if what == "slow": await asyncio.sleep({SECONDS})
        self.set_header("Content-Length", "2")
        self.set_status(int(what) if what.isdigit() else 200)
        self.write("o")
        await self.flush()
        if what == "cut": raise ValueError("on purpose")
        self.write("k")
async def main():
    server = httpserver.HTTPServer(web.Application([("/(.*)", Handler)]))
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.setblocking(False)
    server.add_sockets([listener])
    await asyncio.Event().wait()
asyncio.run(main())
"""
SANIC = f"""
import asyncio, socket, sys
from sanic import Sanic
app = Sanic("counted")
@app.get("/<what>")
async def answer(request, what):
    if what == "raise": raise ValueError("on purpose")
    if what == "slow": await asyncio.sleep({SECONDS})
    response = await request.respond(status=int(what) if what.isdigit() else 200)
    await response.send("o")
    if what == "cut": raise ValueError("on purpose")
    await response.send("k", end_stream=True)
listener = socket.socket(fileno=int(sys.argv[1]))
app.run(sock=listener, single_process=True, motd=False, access_log=False)
"""
TWISTED = f"""
import os, socket, sys
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
class Answer(Resource):
    isLeaf = True
    def render_GET(self, request):
        what = request.path[1:].decode()
        if what == "raise": raise ValueError("on purpose")
        request.setResponseCode(int(what) if what.isdigit() else 200)
        request.write(b"o")
        if what == "cut": request.loseConnection()
        else: reactor.callLater({SECONDS} if what == "slow" else 0, end, request)
        return NOT_DONE_YET
def end(request):
    request.write(b"k")
    request.finish()
os.set_blocking(int(sys.argv[1]), False)
reactor.adoptStreamPort(int(sys.argv[1]), socket.AF_INET, Site(Answer()))
reactor.run()
"""


def _program(source: str, adapter: str, *needs: str) -> Server:
    return Server(("-c", source, "FD"), adapter, needs)


# Those of kept.py that serve the applications.
_SAME = {
    name: server
    for name, server in (kept.SERVERS | kept.CLOSING_SERVERS).items()
    if name not in ("http_server", "django", "aiohttp", "tornado", "sanic", "twisted")
}
SERVERS = _SAME | {
    "http_server": _program(HTTP_SERVER, "http_server"),
    "wsgiref": _program(WSGIREF, "http_server"),
    "django": _program(DJANGO, "http_server", "django"),
    "aiohttp": _program(AIOHTTP, "aiohttp", "aiohttp"),
    "tornado": _program(TORNADO, "tornado", "tornado"),
    "sanic": _program(SANIC, "sanic", "sanic"),
    "twisted": _program(TWISTED, "twisted", "twisted"),
}
