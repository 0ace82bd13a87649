"""Debian's own servers with the applications of tests/servers/apps, and loads for them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.load import Kind, Load
from tests.servers.commands import ASGI, WSGI
from tests.system.units import ADDRESS, Units

HOST, PORT = ADDRESS.split(":")
SHORT = (Load(Kind.NEW, 4, pause=0.005), Load(Kind.KEEP_ALIVE, 2, pause=0.005))


@dataclass(frozen=True)
class Server:
    """A server of Debian's: `long` are requests that take some seconds."""

    name: str
    command: tuple[str, ...]
    long: Load
    public: bool = False  # serves files

    def units(self, *, start_timeout: int = 90, stop_timeout: int = 90) -> Units:
        """Its units; the working directory is the release's, so that no launch mixes two."""
        return Units(
            self.name,
            self.command,
            "/srv/app/current/public" if self.public else "/srv/app/current",
            environment=("PYTHONPATH=/opt/zoo:.",),
            start_timeout=start_timeout,
            stop_timeout=stop_timeout,
        )


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
