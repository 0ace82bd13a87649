"""A separate copy of sockact, which a test can replace under a running supervisor."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Service

LAUNCH = 'python=$0; shift; exec "$python" "{}/sockact/__main__.py" "$@"'


class Installed:
    """A copy of the package in a directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "sockact"
        # With its bytecode, as a package has it: to compile everything in the midst of an upgrade
        # takes seconds.
        unfinished = shutil.ignore_patterns("*.pyc.*")
        shutil.copytree(ROOT / "sockact", self.package, ignore=unfinished)

    @property
    def launcher(self) -> tuple[str, ...]:
        """The command that starts a service with this copy."""
        return "/bin/sh", "-c", LAUNCH.format(self.folder)

    def publish(self, version: str) -> None:
        """Another version; not of the same length as the one before, or bytecode hides it."""
        self.write("__init__.py", f'__version__ = "{version}"\n')

    def write(self, name: str, text: str) -> None:
        """Replace a file."""
        following = self.package / f"{name}.next"
        following.write_text(text)
        following.rename(self.package / name)

    def change(self, name: str, old: str, new: str) -> None:
        """Replace a text that occurs once in a file."""
        text = (self.package / name).read_text()
        assert text.count(old) == 1, (name, old)
        self.write(name, text.replace(old, new))

    def remove(self) -> None:
        """Remove the package, as a package manager would."""
        shutil.rmtree(self.package)


def upgrade(service: Service) -> None:
    """Run `sockact upgrade NAME`, which has to succeed."""
    outcome = service.run("upgrade", service.name)
    assert outcome.code == 0, (outcome, service.stderr)
