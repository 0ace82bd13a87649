"""A server of the zoo as it is, without sockact: the other side of every comparison."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.exchange import Failed
from bench.load import SHORT, ask
from tests.servers import zoo
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from tests.servers.commands import Address
    from tests.servers.releases import Releases

START_TIMEOUT = 20.0


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """A folder with a short path that others may enter, as socket paths and CGI scripts need it."""
    folder = Path(tempfile.mkdtemp(prefix="sockact-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def version(server: zoo.Server, address: Address, timeout: float = 5.0) -> str | None:
    """The version that answers a new client, or None."""
    (kind,) = {load.kind for load in server.loads} & SHORT
    try:
        return asyncio.run(ask(address.target, kind, timeout))
    except (OSError, Failed):
        return None


class Bare:
    """A running server. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        server: zoo.Server,
        address: Address,
        releases: Releases,
        command: Sequence[str] = (),
        follows: bool = False,
    ) -> None:
        """Start it, by its own command unless another is given.

        `follows`: it stays where it is, and each of its workers imports the current release.
        """
        self.server = server
        self.address = address
        self.releases = releases
        directory = releases.folder if follows else server.directory(releases)
        environment = {**zoo.environment(releases), "PWD": str(directory)}
        if follows:
            environment["PYTHONPATH"] += os.pathsep + str(releases.current)
        self._log = (releases.folder / f"log{time.monotonic_ns()}").open("wb")
        self.process = subprocess.Popen(
            list(command) or server.command(address),
            # PWD as after a shell's cd: gunicorn finds the next release by it.
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=directory,
        )

    def __enter__(self) -> Bare:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wait_ready(self) -> None:
        """Return when it answers; raises TimeoutError."""
        wait.until(lambda: version(self.server, self.address), "the first answer", START_TIMEOUT)

    def close(self) -> None:
        """SIGTERM, in the end SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(15.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
