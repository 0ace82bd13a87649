"""Today's other ways to bring a new version into service."""

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

# What an application of some size needs; a way to reload that serves nobody meanwhile shows it.
IMPORT_SECONDS = 0.5
SETTLED = 10  # answers of the new version in a row
SWITCH_TIMEOUT = 30.0


class Peer:
    """Another way to bring a new version into service."""

    name = ""
    server = ""
    follows = True
    """Its workers find the next release by themselves; else it has to be told where that is."""

    def __init__(self, folder: Path) -> None:
        self.zoo = zoo.BY_NAME[self.server]
        self.folder = folder
        self.address, self.releases = choose(self.zoo, folder, IMPORT_SECONDS)
        self.running = Bare(self.zoo, self.address, self.releases, self.command(), self.follows)

    @classmethod
    def available(cls) -> str:
        """Empty, or what is missing."""
        return ""

    def command(self) -> list[str]:
        """Its own command line."""
        return self.zoo.command(self.address)

    def reload(self) -> None:
        """Bring the current release into service."""
        raise NotImplementedError

    def answers(self, wanted: str) -> bool:
        """Whether so many new clients in a row get that version."""
        return all(version(self.zoo, self.address) == wanted for _ in range(SETTLED))

    def close(self) -> None:
        """Stop it."""
        self.running.close()


class Restart(Peer):
    """Stop it, start it: what most units do."""

    follows = False
    name = "stop and start, waitress"
    server = "waitress"

    def reload(self) -> None:
        self.running.close()
        self.running = Bare(self.zoo, self.address, self.releases, self.command(), self.follows)


class Hup(Peer):
    """A server's own reload: SIGHUP to its first process, which replaces its workers."""

    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        return [*super().command(), *self.options]

    def reload(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)


class GunicornHup(Hup):
    """gunicorn's own."""

    follows = False
    name = "HUP, gunicorn gthread"
    server = "gunicorn gthread"


class UvicornHup(Hup):
    """uvicorn's own, with two workers."""

    name = "HUP, uvicorn --workers 2"
    server = "uvicorn asyncio"
    options = ("--workers", "2")


class HypercornHup(Hup):
    """hypercorn's own."""

    name = "HUP, hypercorn --workers 2"
    server = "hypercorn"
    options = ("--workers", "2")


class GranianHup(Hup):
    """granian's own."""

    name = "HUP, granian --workers 2"
    server = "granian"
    options = ("--workers", "2")


class UwsgiHup(Hup):
    """uWSGI's graceful reload."""

    name = "HUP, uwsgi"
    server = "uwsgi"


class GunicornUsr2(Peer):
    """gunicorn's upgrade: a second master beside the first, which is then told to end."""

    follows = False
    name = "USR2, gunicorn gthread"
    server = "gunicorn gthread"
    master = 0

    def command(self) -> list[str]:
        return [*super().command(), "--pid", str(self.pidfile)]

    @property
    def pidfile(self) -> Path:
        """Of the master; the second master appends `.2` until the first has ended."""
        return self.releases.folder / "pid"

    def reload(self) -> None:
        self.master = self.master or self.running.process.pid
        os.kill(self.master, signal.SIGUSR2)
        second = self.pidfile.with_name("pid.2")
        wait.until(second.exists, "the second master", SWITCH_TIMEOUT)
        new = wait.until(lambda: second.read_text().strip(), "its pid", SWITCH_TIMEOUT)
        # As the documentation says: look whether the new workers serve, then end the old master.
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
    """Server::Starter holds the socket and overlaps two workers; uvicorn takes the fd."""

    follows = False
    name = "Server::Starter, uvicorn"
    server = "uvicorn asyncio"

    @classmethod
    def available(cls) -> str:
        return "" if shutil.which("start_server") else "Server::Starter is not installed"

    def command(self) -> list[str]:
        port = f"--port={self.address.target}=3"
        worker = ["uvicorn", "--fd", "3", "--loop", "asyncio", "--no-access-log", ASGI]
        # Each worker enters the release that is current then.
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
    """circus holds the socket and starts new processes before it ends the old ones."""

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
        # It refuses while it still waits for the end of the processes of the reload before.
        wait.until(self._accepted, "circus takes the reload", SWITCH_TIMEOUT)

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
