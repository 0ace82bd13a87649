"""The zoo: every server that sockact is tried with, by its own command line.

One table for the tests, the demonstration and the measurements. Nothing here knows of sockact.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bench.load import Kind, Load

if TYPE_CHECKING:
    from tests.servers.releases import Releases

ROOT = Path(__file__).resolve().parent.parent.parent
APPS = "tests.servers.apps"

# The CGI handler of http.server is gone from Python 3.15 on.
HAS_CGI = sys.version_info < (3, 15)


class Transport(Enum):
    """What a server listens on."""

    TCP = "tcp"
    UNIX = "unix"
    UDP = "udp"


@dataclass(frozen=True)
class Address:
    """Where a server is to listen: a host and a port, or a path."""

    host: str = ""
    port: int = 0
    path: str = ""
    transport: Transport = Transport.TCP

    @property
    def listen(self) -> str:
        """As `sockact run --listen` wants it."""
        prefix = "udp:" if self.transport is Transport.UDP else ""
        return prefix + self.target

    @property
    def target(self) -> str:
        """As the load client wants it."""
        if self.path:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Command = Callable[[Address], list[str]]

CONCURRENT = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 2),
    Load(Kind.STREAM, 2),
)
# One request at a time: a short one waits for a streamed one, for another generation's too.
SEQUENTIAL = (
    Load(Kind.NEW, 2, pause=0.02, timeout=45.0),
    Load(Kind.SLOW, 1, pause=0.1, timeout=45.0),
    Load(Kind.STREAM, 1, pause=0.1, timeout=45.0),
)
FILES = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.READ_SLOWLY, 2),
)
CGI = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 1, path="/cgi-bin/slow"),
    Load(Kind.STREAM, 2, path="/cgi-bin/stream"),
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
    loads: tuple[Load, ...] = CONCURRENT
    transport: Transport = Transport.TCP
    public: bool = False  # works in the folder of the files, not in that of the program
    announces_close: bool = True  # whether it can be made to end kept connections politely
    asyncio: bool = False  # one of the servers whose p99 during a reload is bounded
    packages: tuple[str, ...] = field(default=())

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
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": scripts + os.pathsep + os.environ.get("PATH", os.defpath),
        "PYTHONPATH": os.pathsep.join((str(ROOT), ".")),
        # gunicorn keeps a control socket there; without it, in the home of whoever runs the tests.
        "XDG_RUNTIME_DIR": str(releases.folder),
    }


def _script(module: str, *options: str) -> Command:
    def command(address: Address) -> list[str]:
        name = f"{APPS}.{module}"
        return ["python", "-m", name, address.host, str(address.port), *options]

    return command


def _http_server(*options: str) -> Command:
    def command(address: Address) -> list[str]:
        server = ["python", "-m", "http.server", str(address.port), "--bind", address.host]
        return [*server, *options]

    return command


def _gunicorn(*options: str) -> Command:
    def command(address: Address) -> list[str]:
        return ["gunicorn", "--bind", address.target, *options]

    return command


def _uvicorn(*options: str) -> Command:
    def command(address: Address) -> list[str]:
        where = ["--host", address.host, "--port", str(address.port)]
        if address.path:
            where = ["--uds", address.path]
        return ["uvicorn", *where, "--no-access-log", *options, f"{APPS}.asgi:app"]

    return command


def _waitress(address: Address) -> list[str]:
    return ["waitress-serve", f"--listen={address.target}", "--threads=8", f"{APPS}.wsgi:app"]


def _aiohttp(address: Address) -> list[str]:
    where = ["-H", address.host, "-P", str(address.port)]
    return ["python", "-m", "aiohttp.web", *where, f"{APPS}.aiohttp_app:application"]


def _granian(address: Address) -> list[str]:
    where = ["--host", address.host, "--port", str(address.port)]
    return ["granian", "--interface", "asgi", *where, "--no-access-log", f"{APPS}.asgi:app"]


WSGI = f"{APPS}.wsgi:app"
ASGI = f"{APPS}.asgi:app"
UVICORN_WORKER = "uvicorn.workers.UvicornWorker"

SERVERS: tuple[Server, ...] = (
    Server("http.server", _http_server(), FILES, public=True),
    Server("http.server 1.1", _http_server("--protocol", "HTTP/1.1"), FILES, public=True),
    *((Server("http.server cgi", _http_server("--cgi"), CGI, public=True),) if HAS_CGI else ()),
    Server("wsgiref", _script("wsgiref_server"), SEQUENTIAL),
    Server("accept loop", _script("accept_loop"), SEQUENTIAL),
    Server("accept loop, threads", _script("accept_loop", "threads")),
    Server("asyncio.start_server", _script("asyncio_server"), LINES, asyncio=True),
    Server("udp echo", _script("udp_echo"), DATAGRAMS, Transport.UDP),
    Server("gunicorn sync", _gunicorn("--workers", "6", WSGI), packages=("gunicorn",)),
    Server(
        "gunicorn gthread",
        _gunicorn("--workers", "2", "--threads", "8", WSGI),
        packages=("gunicorn",),
    ),
    Server(
        "gunicorn uvicorn",
        _gunicorn("--workers", "2", "--worker-class", UVICORN_WORKER, ASGI),
        packages=("gunicorn", "uvicorn"),
        asyncio=True,
    ),
    Server("uvicorn asyncio", _uvicorn("--loop", "asyncio"), asyncio=True, packages=("uvicorn",)),
    Server(
        "uvicorn uvloop",
        _uvicorn("--loop", "uvloop"),
        asyncio=True,
        packages=("uvicorn", "uvloop"),
    ),
    Server(
        "uvicorn unix",
        _uvicorn("--loop", "uvloop"),
        transport=Transport.UNIX,
        asyncio=True,
        packages=("uvicorn", "uvloop"),
    ),
    Server("waitress", _waitress, packages=("waitress",)),
    Server("aiohttp", _aiohttp, asyncio=True, packages=("aiohttp",)),
    Server("granian", _granian, announces_close=False, asyncio=True, packages=("granian",)),
)

BY_NAME = {server.name: server for server in SERVERS}
