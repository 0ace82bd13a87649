"""The zoo: every server that sockact is tried with, and what is known of it.

One table for the tests, the demonstration, the measurements and docs/servers/. Nothing here knows
of sockact. commands.py has the command lines.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load import Kind, Load
from tests import ROOT
from tests.servers import commands
from tests.servers.commands import ASGI, UVICORN_WORKER, WSGI, Address, Command, Transport

if TYPE_CHECKING:
    from tests.servers.releases import Releases


# The CGI handler of http.server is gone from Python 3.15 on.
HAS_CGI = sys.version_info < (3, 15)


class Gate(Enum):
    """How the server waits for connections, and so how its gate is closed."""

    EPOLL = "epoll"  # from outside
    SHIM = "shim"  # poll, select or accept: from inside


CLOSES = "closes"
CANNOT = "cannot"
NONE = "none"

KEEP_ALIVE = (
    Load(Kind.KEEP_ALIVE, 1),
    Load(Kind.KEEP_ALIVE, 1, pause=0.005),
    Load(Kind.KEEP_ALIVE, 1, pause=0.05),
)
OTHERS = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 2),
    Load(Kind.STREAM, 2),
    Load(Kind.IDLE_FIRST, 2),
    Load(Kind.UPLOAD, 2),
)
CONCURRENT = (*OTHERS, *KEEP_ALIVE)
# A process for each request: fewer long ones than processes.
PROCESSES = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 2),
    Load(Kind.STREAM, 2),
    Load(Kind.IDLE_FIRST, 1),
    Load(Kind.UPLOAD, 1),
    *KEEP_ALIVE,
)
# One request at a time: a short one waits for a streamed one, for another generation's too, for
# the upload, and for the client that does not say anything yet: 11 s when they come in a row, and
# hence one client of each. One that keeps its connection finds it closed after each answer.
SEQUENTIAL = (
    Load(Kind.NEW, 2, pause=0.02, timeout=45.0),
    Load(Kind.SLOW, 1, pause=0.1, timeout=45.0),
    Load(Kind.STREAM, 1, pause=0.1, timeout=45.0),
    Load(Kind.IDLE_FIRST, 1, pause=0.1, timeout=45.0),
    Load(Kind.UPLOAD, 1, pause=0.1, timeout=45.0),
    Load(Kind.KEEP_ALIVE, 1, pause=0.05, timeout=45.0),
)
# Stock http.server knows files only: the answer is slow because its client is.
FILES = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.READ_SLOWLY, 2),
    Load(Kind.IDLE_FIRST, 2),
    *KEEP_ALIVE,
)
CGI = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 1, path="/cgi-bin/slow"),
    Load(Kind.STREAM, 2, path="/cgi-bin/stream"),
    Load(Kind.IDLE_FIRST, 2),
    Load(Kind.UPLOAD, 1, path="/cgi-bin/upload"),
    *KEEP_ALIVE,
)
LINES = (
    Load(Kind.LINE, 4, pause=0.005),
    Load(Kind.LINE_SLOW, 2),
    Load(Kind.LINE_STREAM, 2),
)
DATAGRAMS = (Load(Kind.DATAGRAM, 4, pause=0.005),)


@dataclass(frozen=True)
class Server:
    """One way to run a server, with a load that it can bear without a client timing out."""

    name: str
    command: Command
    gate: Gate
    # The adapter that ends its kept connections, or: it CLOSES each after the first response
    # anyway; nobody CAN(NOT) make it announce a close; its protocol keeps NONE.
    keep_alive: str
    loads: tuple[Load, ...] = CONCURRENT
    transport: Transport = Transport.TCP
    public: bool = False  # works in the folder of the files, not in that of the program
    asyncio: bool = False  # one of the servers whose p99 during a reload is bounded
    packages: tuple[str, ...] = ()  # to be imported by this Python
    programs: tuple[str, ...] = ()  # to be found on the PATH

    @property
    def announces_close(self) -> bool:
        """Whether it ends kept connections politely: a client that keeps its own never fails."""
        return self.keep_alive != CANNOT

    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        path = search_path()
        packages = [name for name in self.packages if importlib.util.find_spec(name) is None]
        return packages + [name for name in self.programs if shutil.which(name, path=path) is None]

    def directory(self, releases: Releases) -> Path:
        """The working directory of a launch: resolved then, so it pins the release.

        Otherwise a worker that a running master starts later would import a newer release.
        """
        return releases.current / "public" if self.public else releases.current

    def address(self, folder: Path, port: int) -> Address:
        """Where it listens, when it may use that folder and that port."""
        if self.transport is Transport.UNIX:
            return Address(path=str(folder / "app.sock"), transport=self.transport)
        return Address("127.0.0.1", port, transport=self.transport)


def environment(releases: Releases) -> dict[str, str]:
    """The environment of every server: the applications, and the release that it works in."""
    return {
        **os.environ,
        "PATH": search_path(),
        "PYTHONPATH": os.pathsep.join((str(ROOT), ".")),
        # gunicorn keeps a control socket there; without it, in the home of whoever runs the tests.
        "XDG_RUNTIME_DIR": str(releases.folder),
    }


def search_path() -> str:
    return str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", os.defpath)


def _unkept(*servers: Server) -> tuple[Server, ...]:
    """Servers that nobody can make close politely, without the clients that would suffer."""
    return tuple(replace(server, loads=OTHERS) for server in servers)


SERVERS: tuple[Server, ...] = (
    Server("http.server", commands.http_server(), Gate.SHIM, CLOSES, FILES, public=True),
    Server(
        "http.server 1.1",
        commands.http_server("--protocol", "HTTP/1.1"),
        Gate.SHIM,
        "http_server",
        FILES,
        public=True,
    ),
    *(
        (
            Server(
                "http.server cgi",
                commands.http_server("--cgi"),
                Gate.SHIM,
                CLOSES,
                CGI,
                public=True,
            ),
        )
        if HAS_CGI
        else ()
    ),
    Server("wsgiref", commands.script("wsgiref_server"), Gate.SHIM, CLOSES, SEQUENTIAL),
    Server("accept loop", commands.script("accept_loop"), Gate.SHIM, CLOSES, SEQUENTIAL),
    Server("accept loop, threads", commands.script("accept_loop", "threads"), Gate.SHIM, CLOSES),
    Server(
        "asyncio.start_server",
        commands.script("asyncio_server"),
        Gate.EPOLL,
        NONE,
        LINES,
        asyncio=True,
    ),
    Server("udp echo", commands.script("udp_echo"), Gate.SHIM, NONE, DATAGRAMS, Transport.UDP),
    Server(
        "gunicorn sync",
        commands.gunicorn("--workers", "8", WSGI),
        Gate.SHIM,
        CLOSES,
        PROCESSES,
        packages=("gunicorn",),
    ),
    Server(
        "gunicorn gthread",
        commands.gunicorn("--workers", "2", "--threads", "8", WSGI),
        Gate.EPOLL,
        "gunicorn",
        packages=("gunicorn",),
    ),
    Server(
        "gunicorn uvicorn",
        commands.gunicorn("--workers", "2", "--worker-class", UVICORN_WORKER, ASGI),
        Gate.EPOLL,
        "uvicorn",
        asyncio=True,
        packages=("gunicorn", "uvicorn"),
    ),
    Server(
        "gunicorn unix",
        commands.gunicorn("--workers", "2", "--threads", "8", WSGI),
        Gate.EPOLL,
        "gunicorn",
        transport=Transport.UNIX,
        packages=("gunicorn",),
    ),
    Server(
        "uvicorn asyncio",
        commands.uvicorn("--loop", "asyncio"),
        Gate.EPOLL,
        "uvicorn",
        asyncio=True,
        packages=("uvicorn",),
    ),
    Server(
        "uvicorn uvloop",
        commands.uvicorn("--loop", "uvloop"),
        Gate.EPOLL,
        "uvicorn",
        asyncio=True,
        packages=("uvicorn", "uvloop"),
    ),
    Server(
        "uvicorn unix",
        commands.uvicorn("--loop", "uvloop"),
        Gate.EPOLL,
        "uvicorn",
        transport=Transport.UNIX,
        asyncio=True,
        packages=("uvicorn", "uvloop"),
    ),
    Server("hypercorn", commands.hypercorn, Gate.EPOLL, "hypercorn", packages=("hypercorn",)),
    Server("daphne", commands.daphne, Gate.EPOLL, "twisted", packages=("daphne",)),
    Server("sanic", commands.sanic, Gate.EPOLL, "sanic", packages=("sanic",)),
    Server("aiohttp", commands.aiohttp, Gate.EPOLL, "aiohttp", asyncio=True, packages=("aiohttp",)),
    Server(
        "tornado",
        commands.script("tornado_server"),
        Gate.EPOLL,
        "tornado",
        packages=("tornado",),
    ),
    Server("twisted web", commands.twisted, Gate.EPOLL, "twisted", packages=("twisted",)),
    Server(
        "gevent.pywsgi",
        commands.script("gevent_server"),
        Gate.EPOLL,
        "gevent",
        packages=("gevent",),
    ),
    Server("waitress", commands.waitress, Gate.SHIM, "waitress", packages=("waitress",)),
    Server("cheroot", commands.cheroot, Gate.EPOLL, "cheroot", packages=("cheroot",)),
    Server(
        "werkzeug",
        commands.script("werkzeug_server"),
        Gate.SHIM,
        CLOSES,
        packages=("werkzeug",),
    ),
    Server("django runserver", commands.django, Gate.SHIM, "django", packages=("django",)),
    Server("uwsgi", commands.uwsgi, Gate.EPOLL, CLOSES, programs=("uwsgi",)),
    *_unkept(
        Server(
            "granian", commands.granian, Gate.EPOLL, CANNOT, asyncio=True, packages=("granian",)
        ),
        Server("node", commands.node, Gate.EPOLL, CANNOT, programs=("node",)),
        Server("go", commands.go, Gate.EPOLL, CANNOT, programs=("zoo-go",)),
    ),
)

BY_NAME = {server.name: server for server in SERVERS}
