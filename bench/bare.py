"""A server without sockact: the other side of every comparison."""

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

    from tests.servers.commands import Address
    from tests.servers.releases import Releases

START_TIMEOUT = 20.0


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """A temporary directory: short enough for socket paths, and open to CGI scripts."""
    folder = Path(tempfile.mkdtemp(prefix="sockact-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def version(server: zoo.Server, address: Address, timeout: float = 5.0) -> str | None:
    """The version that answers a new client, or None if there is no answer."""
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
        """Start the server with `command`, or with its own command line.

        `follows`: the server stays in its directory; its workers import the current release.
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
            # gunicorn finds the next release through PWD, which a shell's cd sets.
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=directory,
        )

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def wait_ready(self) -> None:
        """Wait for the first answer. Raises TimeoutError."""
        wait.until(lambda: version(self.server, self.address), "the first answer", START_TIMEOUT)

    def close(self) -> None:
        """Stop it by SIGTERM; after 15 s by SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(15.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
