"""RPM packages, built here, and rpm on the disk of a booted machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.machine import Machine

SPEC = ROOT / "packaging" / "sockact.spec"
TOOLS = ("rpm", "rpmbuild", "rpmlint")
TIMEOUT = 600.0
NAMESPACES = ("--pid", "--net", "--ipc", "--uts", "--cgroup")
# What systemd keeps, and what is not on disk.
ELSEWHERE = (
    *("proc", "sys", "dev", "tmp", "run", "root", "opt", "srv", "var/log", "var/tmp"),
    *("var/lib/systemd", "etc/systemd/system"),
)


def build(output: Path, *options: str) -> Path:
    """Build the packages, with options of rpmbuild; gives the binary one."""
    done = subprocess.run(
        [ROOT / "packaging" / "build-rpm", sys.executable, output, *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    (found,) = output.glob("*.noarch.rpm")
    return found


def expanded(distribution: str) -> str:
    """The spec file as `rhel 9`, say, reads it, with our stand-ins for its macros."""
    macros = ROOT / "packaging" / "macros.fallback"
    return subprocess.run(
        ["rpmspec", "--load", macros, "--define", distribution, "--parse", SPEC],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def query(package: Path, form: str) -> str:
    """`rpm --query --queryformat`."""
    # It makes one, even if it looks only into a file.
    with tempfile.TemporaryDirectory(prefix="sockact-rpmdb-") as database:
        return subprocess.run(
            ["rpm", "--dbpath", database, "--query", "--package", f"--queryformat={form}", package],
            capture_output=True,
            text=True,
            check=True,
        ).stdout


@dataclass(frozen=True)
class Rpm:
    """rpm for the disk of a machine, whose root has none.

    It runs in the machine's namespaces but for that of the mounts, and changes its root to the
    machine's, as it does for its scriptlets. Its data base stays outside: SQLite resolves
    /proc/PID/root, which is a link to `/`.
    """

    machine: Machine
    database: Path

    def __call__(self, *words: str) -> str:
        """A call that has to succeed; what it said, with its traces."""
        where = ("--root", f"/proc/{self.machine.pid}/root", "--dbpath", str(self.database))
        done = subprocess.run(
            [*self.machine.enter(*NAMESPACES), "rpm", *where, "-vv", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        return said


def files(machine: Machine) -> set[str]:
    """The files on the machine's disk, with kinds, modes and owners."""
    pruned = " -o ".join(f"-path /{path}" for path in ELSEWHERE)
    command = f"find / \\( {pruned} \\) -prune -o -printf '%p %M %u:%g\\n'"
    return set(machine.run("sh", "-c", command, check=True).stdout.splitlines())
