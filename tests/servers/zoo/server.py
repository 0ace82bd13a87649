"""What is known of a server of the zoo. Nothing here knows of sockact."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from tests import ROOT
from tests.servers.commands import Address, Command, Transport
from tests.servers.zoo.loads import CONCURRENT

if TYPE_CHECKING:
    from bench.load import Load
    from tests.servers.releases import Releases


class Gate(Enum):
    """How the server waits for connections, and so how its gate is closed."""

    EPOLL = "epoll"  # from outside
    SHIM = "shim"  # poll, select or accept: from inside
    NONE = "none"  # poll, select or accept in another language: it cannot be closed
    LANE = "lane"  # whatever it waits in: each generation has a lane


CLOSES = "closes"
CANNOT = "cannot"
NONE = "none"

# In the server's folder: the certificate and its key.
CERTIFICATE = "certificate.pem"


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
    settings: tuple[str, ...] = ()  # options of `sockact run` that its users need
    stays: bool = False  # some of its clients stay until the drain timeout
    public: bool = False  # works in the folder of the files, not in that of the program
    asyncio: bool = False  # one of the servers whose p99 during a reload is bounded
    packages: tuple[str, ...] = ()  # to be imported by this Python
    programs: tuple[str, ...] = ()  # to be found on the PATH
    optional: bool = False  # without them its tests are skipped

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
        if self.transport is Transport.BOTH:
            return Address(port=port, transport=self.transport)
        certificate = str(folder / CERTIFICATE) if self.transport is Transport.TLS else ""
        return Address("127.0.0.1", port, transport=self.transport, certificate=certificate)


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
