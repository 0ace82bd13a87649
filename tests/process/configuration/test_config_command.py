"""`sockact config` with special files, and after a rollback."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from pathlib import Path

SAID = json.dumps({"command": ["/bin/true"], "listen": ["127.0.0.1:0"]})


def config(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`sockact config` with what belongs to the service in this folder."""
    return subprocess.run(
        [*SOCKACT, "config", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SOCKACT_RUNTIME_DIR": str(folder / "run"),
            "SOCKACT_STATE_DIR": str(folder / "state"),
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def served(folder: Path, text: str) -> None:
    """A configuration that has served, as the supervisor leaves it."""
    kept = folder / "state" / "test" / "config"
    kept.mkdir(parents=True)
    (kept / "1.json").write_text(text)


@pytest.mark.parametrize("action", [("show",), ("diff",), ("diff", "1"), ("rollback", "1")])
def test_what_is_no_file(folder: Path, action: tuple[str, ...]) -> None:
    served(folder, SAID)
    os.mkfifo(folder / "fifo")
    for target in (str(folder / "fifo"), "/dev/zero"):
        path = folder / "test.json"
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        done = config(folder, action[0], "./test.json", *action[1:])
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("sockact: ")
        assert "cannot read " in line
        assert line.endswith(": not a regular file")
        assert path.readlink() == type(path)(target)


def test_none_has_served(folder: Path) -> None:
    (folder / "test.json").write_text(SAID)
    done = config(folder, "history", "./test.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert (
        f"test: no configuration has served yet (looked in {folder}/state/test/config)"
        in done.stderr
    )
    done = config(folder, "diff", "./test.json")
    assert done.stdout.endswith(f"+{SAID}\n")
