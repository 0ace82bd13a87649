"""Debian's servers with the applications of tests/servers/apps, and loads for them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.load import Kind, Load
from tests.servers.commands import ASGI, WSGI
from tests.system.units import ADDRESS, Units

HOST, PORT = ADDRESS.split(":")
SHORT = (Load(Kind.NEW, 4, pause=0.02), Load(Kind.KEEP_ALIVE, 2, pause=0.005))


@dataclass(frozen=True)
class Server:
    """A server packaged by Debian; `long` are requests that take some seconds."""

    name: str
    command: tuple[str, ...]
    long: Load
    public: bool = False  # serves files

    def units(self, *settings: str) -> Units:
        """Its units, with these lines for [Service]; the working directory is the release's, so
        that no launch mixes two.
        """
        directory = "/srv/app/current/public" if self.public else "/srv/app/current"
        return Units(self.name, self.command, directory, settings=settings)


GUNICORN = Server(
    "gunicorn",
    ("gunicorn", "--bind", ADDRESS, "--workers", "2", "--threads", "8", WSGI),
    Load(Kind.SLOW, 2),
)
UVICORN = Server(
    "uvicorn",
    ("python3", "-m", "uvicorn", "--host", HOST, "--port", PORT, "--no-access-log", ASGI),
    Load(Kind.SLOW, 2),
)
HTTP_SERVER = Server(
    "http-server",
    ("python3", "-m", "http.server", "--bind", HOST, PORT),
    Load(Kind.READ_SLOWLY, 2),
    public=True,
)
SERVERS = (GUNICORN, UVICORN, HTTP_SERVER)
