"""What a service adds to the files of StandardOutput= and StandardError=."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.units.facts import Unit
from sockact.units.output_files import OutputFiles

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534


def of(path: Path) -> OutputFiles:
    settings = {"StandardOutput": [f"append:{path}"], "StandardError": ["inherit"]}
    return OutputFiles(Unit("web.service", files={"Service": settings}))


def test_only_what_is_added_is_shown(folder: Path) -> None:
    path = folder / "log"
    assert of(path).added() == []
    path.write_text("before\n")
    found = of(path)
    assert found.added() == []
    with path.open("a") as log:
        log.write("now\n")
    assert found.added() == ["now"]
    path.write_text("anew\n")
    assert found.added() == ["anew"]
    path.write_bytes(b"x" * 100_000 + b"\nthe end\n")
    assert found.added()[1:] == ["the end"]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
@pytest.mark.parametrize("way", ["hard link", "link of a directory", "link", "fifo"])
def test_a_secret_of_roots_is_not_shown(folder: Path, way: str) -> None:
    """In a directory of the service's user, who chooses what the path leads to."""
    home, secrets = folder / "home", folder / "secrets"
    secrets.mkdir(mode=0o700)
    secret = secrets / "log"
    secret.write_text("before\n")
    secret.chmod(0o600)
    home.mkdir()
    (home / "logs").mkdir()
    path = home / "logs" / "log"
    found = of(path)
    if way == "hard link":
        path.hardlink_to(secret)
    elif way == "link":
        path.symlink_to(secret)
    elif way == "fifo":
        os.mkfifo(path)
    else:
        (home / "logs").rmdir()
        (home / "logs").symlink_to(secrets)
    for one in (home, home / "logs"):
        os.chown(one, NOBODY, NOBODY, follow_symlinks=False)
    assert found.added() == []
