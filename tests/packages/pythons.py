"""Pythons of other Debian releases, in /opt of a machine, for programs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support import deb, roots

if TYPE_CHECKING:
    from tests.support.machine import Machine

# A release may need a newer C library than the machine has.
LIBRARIES = ("ld-linux", "libc.", "libm.", "libexpat.", "libz.", "libffi.", "libssl.", "libcrypto.")
# As $0, because it is by that name that Python finds its virtual environment.
SCRIPT = """#!/bin/sh
exec {loader} --library-path {libraries} --argv0 "$0" {program} "$@"
"""


@dataclass(frozen=True)
class Python:
    """Python of a release."""

    suite: str
    version: str
    kind: roots.Kind
    libraries: bool
    """With the C library of its release; else it runs on an older one than the machine's."""

    @property
    def folder(self) -> str:
        """Where it is installed."""
        return f"/opt/python{self.version}"

    @property
    def python(self) -> str:
        """The command."""
        return f"{self.folder}/bin/python{self.version}"


OTHER = {
    "bookworm": Python("trixie", "3.13", deb.builder(), libraries=True),
    "trixie": Python(
        "bullseye", "3.9", roots.Kind("python-", ("python3", "python3-venv")), libraries=False
    ),
}
"""For a machine of each release, one that is older or newer than its own."""


def install(python: Python, machine: Machine) -> None:
    """Copy it into the machine. Raises roots.CannotBuild."""
    root = roots.root(python.suite, python.kind) / "usr"
    folder = machine.path(python.folder)
    name = f"python{python.version}"
    shutil.copytree(root / "lib" / name, folder / "lib" / name, symlinks=True)
    command = folder / "bin" / name
    command.parent.mkdir()
    if not python.libraries:
        shutil.copy(root / "bin" / name, command)
        return
    program = folder / "libexec" / name
    program.parent.mkdir()
    shutil.copy(root / "bin" / name, program)
    libraries = folder / "libraries"
    libraries.mkdir()
    (own,) = root.glob("lib/*-linux-gnu")
    for path in own.iterdir():
        if path.name.startswith(LIBRARIES) and path.is_file():
            shutil.copy(path, libraries)
    (loader,) = libraries.glob("ld-linux*")
    text = SCRIPT.format(
        loader=f"{python.folder}/libraries/{loader.name}",
        libraries=f"{python.folder}/libraries",
        program=f"{python.folder}/libexec/{name}",
    )
    command.write_text(text)
    command.chmod(0o755)
