"""Root file systems of Debian releases, built once by debootstrap and kept for the next run.

$SOCKACT_TEST_ROOTS says where; ~/.cache/sockact-test-roots by default. A root is never changed:
machines lay an overlay over it. A change of the list of packages builds anew.

    python -m tests.support.roots [SUITE]…    build what is missing, side by side
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# systemd 252 with Python 3.11, 257 with 3.13, and the newest of both.
SUITES = ("bookworm", "trixie", "sid")
# What a machine needs to boot, and to be talked to.
BOOTS = ("systemd", "systemd-sysv", "dbus", "iproute2", "curl")


@dataclass(frozen=True)
class Kind:
    """What a root is for."""

    name: str
    """In front of the names of its folders; empty, or ends with a dash."""
    packages: tuple[str, ...]
    """By debootstrap, which stumbles over long chains of dependencies."""
    added: tuple[str, ...] = ()
    """By apt-get."""
    cached: tuple[str, ...] = ()
    """Not installed: they and what they need are in apt's cache, to be installed without a
    network."""

    @property
    def key(self) -> str:
        """A key that changes with the list of packages."""
        more = ["--", *self.added, "--", *self.cached] if self.added or self.cached else []
        words = [*self.packages, *more]
        return hashlib.sha256(" ".join(words).encode()).hexdigest()[:12]


SYSTEM = Kind(
    "",
    (
        "systemd",
        "systemd-sysv",
        "dbus",
        "python3",
        "python3-sdnotify",
        "python3-click",
        "python3-systemd",
        "iproute2",
        "curl",
        "gunicorn",
        "python3-uvicorn",
    ),
)
TOOLS = ("debootstrap", "unshare", "nsenter", "setpriv", "ip")
# Seconds for one root, on a slow machine with a slow network.
TIMEOUT = 1500.0


class CannotBuild(Exception):
    """One line: what failed, and where the full output is."""


def folder() -> Path:
    """Where the roots are."""
    default = Path.home() / ".cache" / "sockact-test-roots"
    return Path(os.environ.get("SOCKACT_TEST_ROOTS") or default)


def missing() -> str:
    """Why no root can be built here; empty if it can."""
    if os.geteuid() != 0:
        return "building a root and booting it needs root"
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"{tool} is not installed (bench/setup.sh system)"
    return ""


def roots(suites: Sequence[str], kind: Kind = SYSTEM) -> dict[str, Path]:
    """The root of each; what is not there yet is built, side by side. Raises CannotBuild."""
    with ThreadPoolExecutor(len(suites)) as pool:
        return dict(zip(suites, pool.map(partial(root, kind=kind), suites), strict=True))


def root(suite: str, kind: Kind = SYSTEM) -> Path:
    """The root of a Debian release, built if it is missing. Raises CannotBuild."""
    base = folder()
    name = f"{kind.name}{suite}"
    wanted = base / f"{name}-{kind.key}"
    with _alone(base, name):
        if not wanted.exists():
            # Those of other lists of packages, and what a build that was killed left behind.
            for old in base.glob(f"{name}-*"):
                shutil.rmtree(old)
            _build(suite, kind, wanted)
    return wanted


@contextlib.contextmanager
def _alone(base: Path, name: str) -> Iterator[None]:
    """Nobody else builds or looks for this root; a killed process holds no lock."""
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(suite: str, kind: Kind, wanted: Path) -> None:
    name = f"{kind.name}{suite}"
    building = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=wanted.parent))
    building.chmod(0o755)
    log = wanted.parent / f"{name}.log"
    try:
        with log.open("wb") as output:
            include = f"--include={','.join(kind.packages)}"
            _run(output.fileno(), "debootstrap", "--variant=minbase", include, suite, building)
            if kind.added:
                _apt_get(output.fileno(), building, *kind.added)
            shutil.rmtree(building / "var" / "cache" / "apt" / "archives")
            if kind.cached:
                _apt_get(output.fileno(), building, "--download-only", *kind.cached)
        building.rename(wanted)
    except subprocess.CalledProcessError as error:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise CannotBuild(
            f"making {name} ended with {error.returncode}: {' '.join(last)}; see {log}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CannotBuild(f"making {name} took over {TIMEOUT:g} s; see {log}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _apt_get(output: int, root: Path, *words: str) -> None:
    inside = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    install = ("apt-get", "-q", "-y", "--no-install-recommends", "install")
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
    _run(output, "sh", "-c", inside, root, *quiet, *install, *words)


def _run(output: int, *command: str | Path) -> None:
    # In namespaces of its own: whatever it mounts in the target is gone before anybody removes
    # that, and killing it ends all that it started.
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    tied = ("setpriv", "--pdeathsig", "KILL")
    subprocess.run(
        [*tied, *alone, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        timeout=TIMEOUT,
        check=True,
    )


def main() -> int:
    """Build roots from the command line."""
    suites = tuple(sys.argv[1:]) or SUITES
    if reason := missing():
        sys.stderr.write(f"roots: {reason}\n")
        return 1
    try:
        for found in roots(suites).values():
            sys.stdout.write(f"{found}\n")
    except CannotBuild as error:
        sys.stderr.write(f"roots: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
