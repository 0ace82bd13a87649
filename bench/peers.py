"""Other ways to deploy a new version, for comparison."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from bench.bare import Bare, version
from tests.servers import zoo
from tests.servers.commands import ASGI
from tests.support import wait
from tests.support.deployment import choose

if TYPE_CHECKING:
    from pathlib import Path

# The import of a larger application: shows whether clients are served in the meantime.
IMPORT_SECONDS = 0.5
SETTLED = 10  # answers of the new version in a row
SWITCH_TIMEOUT = 30.0


class Peer:
    """One way to deploy a new version."""

    name = ""
    server = ""
    follows = True
    """Whether its workers find the next release by themselves."""

    def __init__(self, folder: Path) -> None:
        self.zoo = zoo.BY_NAME[self.server]
        self.folder = folder
        self.address, self.releases = choose(self.zoo, folder, IMPORT_SECONDS)
        self.running = Bare(self.zoo, self.address, self.releases, self.command(), self.follows)

    @classmethod
    def available(cls) -> str:
        """What is missing; empty if nothing is."""
        return ""

    def command(self) -> list[str]:
        """The command line."""
        return self.zoo.command(self.address)

    def reload(self) -> None:
        """Deploy the current release."""
        raise NotImplementedError

    def answers(self, wanted: str) -> bool:
        """Whether SETTLED new clients in a row get this version."""
        return all(version(self.zoo, self.address) == wanted for _ in range(SETTLED))

    def close(self) -> None:
        """Stop it."""
        self.running.close()


class Restart(Peer):
    """Stop and start, as most units do."""

    follows = False
    name = "stop and start, waitress"
    server = "waitress"

    def reload(self) -> None:
        self.running.close()
        self.running = Bare(self.zoo, self.address, self.releases, self.command(), self.follows)


class Hup(Peer):
    """The server's own reload: on SIGHUP its first process replaces the workers."""

    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        return [*super().command(), *self.options]

    def reload(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)


class GunicornHup(Hup):
    """gunicorn's own reload."""

    follows = False
    name = "HUP, gunicorn gthread"
    server = "gunicorn gthread"


class UvicornHup(Hup):
    """uvicorn's own reload, with two workers."""

    name = "HUP, uvicorn --workers 2"
    server = "uvicorn asyncio"
    options = ("--workers", "2")


class HypercornHup(Hup):
    """Hypercorn's own reload."""

    name = "HUP, hypercorn --workers 2"
    server = "hypercorn"
    options = ("--workers", "2")


class GranianHup(Hup):
    """granian's own reload."""

    name = "HUP, granian --workers 2"
    server = "granian"
    options = ("--workers", "2")


class UwsgiHup(Hup):
    """uWSGI's graceful reload."""

    name = "HUP, uwsgi"
    server = "uwsgi"


class GunicornUsr2(Peer):
    """gunicorn's upgrade: starts a second master, and then stops the first."""

    follows = False
    name = "USR2, gunicorn gthread"
    server = "gunicorn gthread"
    master = 0

    def command(self) -> list[str]:
        return [*super().command(), "--pid", str(self.pidfile)]

    @property
    def pidfile(self) -> Path:
        """The master's pid file; the second master adds `.2` until the first has ended."""
        return self.releases.folder / "pid"

    def reload(self) -> None:
        self.master = self.master or self.running.process.pid
        os.kill(self.master, signal.SIGUSR2)
        second = self.pidfile.with_name("pid.2")
        wait.until(second.exists, "the second master", SWITCH_TIMEOUT)
        new = wait.until(lambda: second.read_text().strip(), "its pid", SWITCH_TIMEOUT)
        # As gunicorn's documentation says: check the new workers, then stop the old master.
        wanted = self.releases.current.resolve().name
        fresh = lambda: version(self.zoo, self.address) == wanted  # noqa: E731
        wait.until(fresh, "a new worker", SWITCH_TIMEOUT)
        os.kill(self.master, signal.SIGTERM)
        if self.master == self.running.process.pid:
            self.running.process.wait(SWITCH_TIMEOUT + 10)
        wait.until(lambda: not second.exists(), "the first master to end", SWITCH_TIMEOUT + 10)
        self.master = int(new)

    def close(self) -> None:
        if self.master and self.master != self.running.process.pid:
            os.kill(self.master, signal.SIGTERM)
            wait.ended(self.master, 30.0)
        super().close()


class ServerStarter(Peer):
    """Server::Starter holds the socket and overlaps two processes; uvicorn gets its descriptor."""

    follows = False
    name = "Server::Starter, uvicorn"
    server = "uvicorn asyncio"

    @classmethod
    def available(cls) -> str:
        return "" if shutil.which("start_server") else "Server::Starter is not installed"

    def command(self) -> list[str]:
        port = f"--port={self.address.target}=3"
        worker = ["uvicorn", "--fd", "3", "--loop", "asyncio", "--no-access-log", ASGI]
        # Each process runs in the release that is current when it starts.
        enter = ["env", "-C", str(self.zoo.directory(self.releases))]
        return ["start_server", port, "--", *enter, *worker]

    def reload(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)


CIRCUS = """
[circus]
endpoint = tcp://127.0.0.1:{endpoint}
pubsub_endpoint = tcp://127.0.0.1:{pubsub}

[watcher:web]
cmd = env -C {directory} uvicorn --fd $(circus.sockets.web) --no-access-log {app}
use_sockets = True
copy_env = True
numprocesses = 2

[socket:web]
host = {host}
port = {port}
"""


class Circus(Peer):
    """circus holds the socket and starts new processes before it stops the old ones."""

    follows = False
    name = "circus, uvicorn"
    server = "uvicorn asyncio"
    endpoint = 0

    @classmethod
    def available(cls) -> str:
        return "" if shutil.which("circusd", path=zoo.search_path()) else "circus is not installed"

    def command(self) -> list[str]:
        self.endpoint = wait.free_port()
        configuration = self.folder / "circus.ini"
        configuration.write_text(
            CIRCUS.format(
                endpoint=self.endpoint,
                pubsub=wait.free_port(),
                directory=self.zoo.directory(self.releases),
                app=ASGI,
                host=self.address.host,
                port=self.address.port,
            )
        )
        return ["circusd", str(configuration)]

    def reload(self) -> None:
        # circus refuses a reload while processes of the previous one are still running.
        wait.until(self._accepted, "circus to accept the reload", SWITCH_TIMEOUT)

    def _accepted(self) -> bool:
        endpoint = f"tcp://127.0.0.1:{self.endpoint}"
        done = subprocess.run(
            ["circusctl", "--endpoint", endpoint, "reload", "web"],
            env=zoo.environment(self.releases),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SWITCH_TIMEOUT,
        )
        return done.returncode == 0


PEERS: tuple[type[Peer], ...] = (
    Restart,
    GunicornHup,
    GunicornUsr2,
    UvicornHup,
    HypercornHup,
    GranianHup,
    UwsgiHup,
    ServerStarter,
    Circus,
)
