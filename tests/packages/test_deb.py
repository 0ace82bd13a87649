"""What is in the Debian package, and how it is made."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

from tests.packages import wanted
from tests.support import deb

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packages.machines import Built

SHIM = "./usr/share/sockact/sockact/shim/"


def only(folder: Path, pattern: str) -> Path:
    """The one file of that pattern."""
    (found,) = folder.glob(pattern)
    return found


def paths(folder: Path) -> list[str]:
    """What the package would unpack; folders end with a slash."""
    words = ["dpkg-deb", "--fsys-tarfile", str(only(folder, "*.deb"))]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as package:
        done = subprocess.run(
            ["tar", "-t"], stdin=package.stdout, capture_output=True, text=True, check=True
        )
    return done.stdout.splitlines()


def sums(folder: Path) -> dict[str, str]:
    """The hash of everything but what tells of the machine that it was built on."""
    kinds = ("*.deb", "*.dsc", "*.tar.*")
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for kind in kinds
        for path in folder.glob(kind)
    }


def test_two_builds_are_identical(suite: str, built: Built, folder: Path) -> None:
    deb.build(suite, folder / "again", tests=False)
    assert sums(folder / "again") == sums(built.first)
    assert len(sums(built.first)) == 4


def test_it_is_apart_from_the_python_packages_of_the_system(built: Built) -> None:
    found = paths(built.first)
    assert not [path for path in found if "dist-packages" in path or "__pycache__" in path]
    tops = {path.split("/")[2] for path in found if path.count("/") > 2}
    assert tops == {"bin", "lib", "share"}
    private = {path.split("/")[4] for path in found if path.startswith("./usr/share/sockact/")}
    assert private == {"", "sockact"}
    # On PYTHONPATH of every program: nothing else may be found there.
    shim = {path.removeprefix(SHIM).split("/")[0] for path in found if path.startswith(SHIM)}
    assert shim == {"", "sitecustomize.py", "sockact_shim"}


def test_it_has_all_units_of_the_source(built: Built) -> None:
    found = {path.removeprefix("./usr/lib/systemd/") for path in paths(built.first)}
    assert set(wanted.UNITS) <= found


def test_lintian(built: Built) -> None:
    # The newest knows most.
    assert deb.lintian(deb.SUITES[-1], built.first) == ""
