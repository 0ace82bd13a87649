"""`sockact exporter` under test: its process, and what it serves."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from tests.support import wait
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Exporter:
    """A context manager; `folder` is the runtime folder of the services."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = wait.free_port() if port is None else port
        self.errors = folder.parent / "exporter.stderr"
        with self.errors.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*SOCKACT, "exporter", "--listen", f"127.0.0.1:{self.port}"],
                env={**os.environ, "SOCKACT_RUNTIME_DIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )

    def __enter__(self) -> Exporter:
        wait.until(self._listens, "the exporter to listen")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        alive = self.process.poll() is None
        self.process.terminate()
        self.process.wait(10.0)
        assert alive or error, f"it ended before:\n{self.errors.read_text()}"

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.errors.read_text()
        try:
            self.get("/")
        except OSError:
            return False
        return True

    def get(self, path: str, accept: str = "text/plain") -> str:
        """The body of the answer. Raises OSError."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Accept": accept}
        )
        with urllib.request.urlopen(request, timeout=20.0) as answer:
            text: str = answer.read().decode()
        return text

    def page(self, accept: str = "text/plain") -> str:
        """The metrics."""
        return self.get("/metrics", accept)
