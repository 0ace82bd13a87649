"""Servers whose connections move: files of their programs, and their command lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "asgi.py": """
import os
async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
""",
    "wsgi.py": """
import os
def app(environment, start):
    body = str(os.getpid()).encode()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
""",
    "aio.py": """
import os, sys
from aiohttp import web
async def answer(request):
    return web.Response(text=str(os.getpid()))
app = web.Application()
app.router.add_get("/", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
""",
    "node.js": """
require("http").createServer((request, response) => {
    response.setHeader("Content-Length", String(process.pid).length)
    response.end(String(process.pid))
}).listen(Number(process.argv[2]), "127.0.0.1")
""",
    "server.go": """
package main
import ("fmt"; "net/http"; "os")
func answer(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getpid()) }
func main() { panic(http.ListenAndServe("127.0.0.1:" + os.Args[1], http.HandlerFunc(answer))) }
""",
}
PYTHON = [sys.executable, "-W", "ignore", "-m"]
UVICORN = [*PYTHON, "uvicorn", "--port=PORT", "--lifespan=off", "--log-level=warning"]
GUNICORN = [*PYTHON, "gunicorn", "--bind=127.0.0.1:PORT", "--log-level=critical", "wsgi:app"]
SERVERS = {
    "uvicorn on asyncio": [*UVICORN, "--loop=asyncio", "asgi:app"],
    "uvicorn on uvloop": [*UVICORN, "--loop=uvloop", "asgi:app"],
    "aiohttp": [sys.executable, "-W", "ignore", "aio.py", "PORT"],
    "gunicorn gthread": [
        *GUNICORN,
        *("--worker-class=gthread", "--threads=4", "--keep-alive=60", "--no-control-socket"),
    ],
    "granian": [*PYTHON, "granian", "--interface=asgi", "--port=PORT", "asgi:app"],
    "node": ["node", "node.js", "PORT"],
    "go": ["./server", "PORT"],
}
"""Name → command line, with PORT in the place of the port at 127.0.0.1."""


def has(name: str) -> bool:
    """Whether the server is installed."""
    if name in ("node", "go"):
        return shutil.which(name) is not None
    module = {"uvicorn on uvloop": "uvloop"}.get(name, name.split()[0])
    return subprocess.run([sys.executable, "-c", f"import {module}"], stderr=-3).returncode == 0


def prepare(name: str, folder: Path) -> None:
    """Write the programs to a directory; skip the test if the server is not installed."""
    if not has(name):
        pytest.skip("not installed")
    for file, text in FILES.items():
        (folder / file).write_text(text)
    if name == "go":
        subprocess.run(["go", "build", "-o", "server", "server.go"], cwd=folder, check=True)


def command(name: str, port: int) -> list[str]:
    """The command line of the server on this port."""
    return [word.replace("PORT", str(port)) for word in SERVERS[name]]
