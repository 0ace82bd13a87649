"""A user's directories for `sockact init`.

systemctl is a program of ours that writes down how it was called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sockact.units import unitfile
from tests import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LISTEN = ("--listen", "127.0.0.1:8000")
SYSTEMCTL = (
    '#!/bin/sh\necho "$@" >> "$CALLS"\nif [ "$2" = "$FAIL" ]; then echo no >&2; exit 1; fi\n'
)
needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed"
)


class Home:
    """A user's directories, and a PATH with programs that only have to exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units = folder / "config/systemd/user"
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        for name in ("sockact", "gunicorn", "my prog"):
            self.program(name, "#!/bin/sh\n")
        self.program("systemctl", SYSTEMCTL)

    def program(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def init(self, *arguments: str, fail: str = "none") -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "CALLS": str(self.calls),
            "FAIL": fail,
            "PYTHONPATH": str(ROOT),
        }
        return subprocess.run(
            [sys.executable, "-m", "sockact", "init", *arguments],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def written(self, *arguments: str) -> dict[str, dict[str, list[str]]]:
        """The sections of the .service unit that `sockact init` writes."""
        done = self.init("web", "--user-unit", *LISTEN, *arguments)
        assert done.returncode == 0, done.stderr
        return unitfile.parse((self.units / "web.service").read_text())

    def words(self, *arguments: str) -> list[str]:
        """The command line of the service, without that of sockact run."""
        line = self.written(*arguments)["Service"]["ExecStart"][0]
        words = unitfile.expand(unitfile.split(line), "web.service", {})
        assert words[:4] == [str(self.bin / "sockact"), "run", "--name", "web"]
        return words[4:]


@pytest.fixture
def home(folder: Path) -> Home:
    """An empty one."""
    return Home(folder)
