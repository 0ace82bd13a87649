"""What is done with packages inside of a booted machine."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.machine import Machine

APT_TIMEOUT = 120.0
UNITS = "/etc/systemd/system"
# What apt, dpkg and systemd keep for themselves, and what is not on disk.
ELSEWHERE = (
    *("/proc", "/sys", "/dev", "/tmp", "/packages", "/opt", "/srv", "/var/log", "/var/cache"),
    *("/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/tmp"),
    *("/run/systemd", "/run/log", "/run/udev", "/run/dbus", "/run/lock", "/run/credentials"),
)


@dataclass(frozen=True)
class Built:
    """Folders with all that a build gives."""

    first: Path
    later: Path


@contextlib.contextmanager
def apps(built: Built) -> Iterator[Path]:
    """A layer with the packages, /packages/first.deb and later.deb, the applications of the tests,
    and debian/tests.
    """
    with tempfile.TemporaryDirectory(prefix="sockact-layer-") as name:
        layer = Path(name)
        layer.chmod(0o755)
        (layer / "packages").mkdir()
        for folder in (built.first, built.later):
            (package,) = folder.glob("*.deb")
            shutil.copy(package, layer / "packages" / f"{folder.name}.deb")
        ignore = shutil.ignore_patterns("__pycache__")
        folder = Path("tests/servers/apps")
        shutil.copytree(ROOT / folder, layer / "opt/zoo" / folder, ignore=ignore)
        shutil.copytree(ROOT / "debian/tests", layer / "opt/debian-tests")
        yield layer


def install(machine: Machine, *packages: str) -> None:
    """`apt-get install`, from apt's cache: the machine has no network."""
    apt(machine, "install", "--no-install-recommends", *packages)


def apt(machine: Machine, *words: str) -> str:
    """A call of apt-get that has to succeed, and asks nothing; what it and the packages say."""
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    done = machine.run(
        *("apt-get", "-q", "-y", *words), timeout=APT_TIMEOUT, environment=environment, check=True
    )
    return done.stdout + done.stderr


def remove_services(machine: Machine) -> None:
    """Stop and forget all services with a .socket unit in /etc, and what is deployed for them."""
    # Those of templates are there because their instances are enabled.
    units = {path.name for path in machine.path(UNITS).rglob("*.socket")}
    services = {unit.replace(".socket", ".service") for unit in units}
    machine.systemctl("stop", *units, *services)
    machine.systemctl("disable", *units, *services)
    machine.run("sh", "-c", f"rm -rf {UNITS}/*.socket* {UNITS}/*.service* /etc/sockact /srv/*")
    machine.systemctl("daemon-reload", check=True)
    machine.systemctl("reset-failed")


def files(machine: Machine) -> set[str]:
    """A line for each file on the disk: its path, kind, mode, owner, size and target."""
    pruned = " -o ".join(f"-path {path}" for path in ELSEWHERE)
    form = r"%p %M %u:%g"
    command = (
        f"find / \\( {pruned} \\) -prune -o "
        f"\\( -type d -printf '{form}\\n' -o -printf '{form} %s %l\\n' \\)"
    )
    done = machine.run("sh", "-c", command, check=True)
    return set(done.stdout.splitlines())
