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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# systemd 252 with Python 3.11, 257 with 3.13, and the newest of both.
SUITES = ("bookworm", "trixie", "sid")
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-systemd",
    "python3-sdnotify",
    "python3-psutil",
    "python3-click",
    "iproute2",
    "curl",
    "gunicorn",
    "python3-uvicorn",
)
TOOLS = ("debootstrap", "unshare", "nsenter", "setpriv", "ip")
# Seconds for one root, on a slow machine with a slow network.
TIMEOUT = 1500.0


class CannotBuild(Exception):
    """One line: what failed, and where the whole story is."""


def folder() -> Path:
    """Where the roots are."""
    default = Path.home() / ".cache" / "sockact-test-roots"
    return Path(os.environ.get("SOCKACT_TEST_ROOTS") or default)


def missing() -> str:
    """Why no root can be built here; empty when it can."""
    if os.geteuid() != 0:
        return "building a root and booting it needs root"
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"{tool} is not installed (bench/setup.sh system)"
    return ""


def roots(suites: Sequence[str]) -> dict[str, Path]:
    """The root of each; what is not there yet is built, side by side. Raises CannotBuild."""
    with ThreadPoolExecutor(len(suites)) as pool:
        return dict(zip(suites, pool.map(root, suites), strict=True))


def root(suite: str) -> Path:
    """The root of a Debian release; builds it when it is not there. Raises CannotBuild."""
    key = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    base = folder()
    wanted = base / f"{suite}-{key}"
    with _alone(base, suite):
        if not wanted.exists():
            # Those of other lists of packages, and what a build that was killed left behind.
            for old in base.glob(f"{suite}-*"):
                shutil.rmtree(old)
            _build(suite, wanted)
    return wanted


@contextlib.contextmanager
def _alone(base: Path, suite: str) -> Iterator[None]:
    """Nobody else builds or looks for this root; a killed process holds no lock."""
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(suite: str, wanted: Path) -> None:
    building = Path(tempfile.mkdtemp(prefix=f"{suite}-", dir=wanted.parent))
    building.chmod(0o755)
    log = wanted.parent / f"{suite}.log"
    try:
        with log.open("wb") as output:
            _debootstrap(suite, building, output.fileno())
        shutil.rmtree(building / "var" / "cache" / "apt" / "archives")
        building.rename(wanted)
    except subprocess.CalledProcessError as error:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise CannotBuild(
            f"debootstrap {suite} ended with {error.returncode}: {' '.join(last)}; see {log}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CannotBuild(f"debootstrap {suite} took over {TIMEOUT:g} s; see {log}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _debootstrap(suite: str, target: Path, output: int) -> None:
    # In namespaces of its own: whatever it mounts in the target is gone before anybody removes
    # that, and killing it ends all that it started.
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    tied = ("setpriv", "--pdeathsig", "KILL")
    include = "--include=" + ",".join(PACKAGES)
    subprocess.run(
        [*tied, *alone, "debootstrap", "--variant=minbase", include, suite, target],
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
