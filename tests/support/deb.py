"""Debian packages of the project, built inside of a booted root of their release, which has no
network but its loopback.

    python -m tests.support.deb [--output DIR] [SUITE]…    into DIR/SUITE, dist/SUITE by default

What git knows of is built, as it is on disk. On Debian itself `dpkg-buildpackage` does it, too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from email.utils import parsedate_to_datetime
from pathlib import Path

from tests import ROOT
from tests.support import machine as machines
from tests.support import roots
from tests.support.machine import Machine

SUITES = ("bookworm", "trixie")
# Whom the package is built as: one who may not write anywhere else.
BUILDER = "daemon"
TIMEOUT = 600.0
# What the package is tried with.
PROGRAMS = ("gunicorn", "python3-venv")
_DEPENDS = re.compile(r"^ ([a-z0-9.+-]+)(?: \([^)]*\))?(?: <[^>]*>)?,$", re.MULTILINE)


def depends(field: str) -> tuple[str, ...]:
    """The packages that a field of debian/control names, but for alternatives and variables."""
    text = (ROOT / "debian" / "control").read_text()
    (value,) = re.findall(rf"^{field}:\n((?: .*\n)*)", text, re.MULTILINE)
    return tuple(name for name in _DEPENDS.findall(value) if name != "debhelper-compat")


def builder() -> roots.Kind:
    """Roots in which the package can be built, and looked through."""
    tools = ("build-essential", "debhelper", "lintian")
    return roots.Kind("build-", roots.BOOTS, (*tools, *depends("Build-Depends")))


def user() -> roots.Kind:
    """Roots without Python, in which the package can be installed, with programs for it."""
    return roots.Kind("user-", roots.BOOTS, cached=(*depends("Depends"), *PROGRAMS))


def build(suite: str, output: Path, version: str = "", *, tests: bool = True) -> None:
    """Build the package of a Debian release into a folder, as an upgrade to `version` perhaps.

    `tests`: run those that the package runs. Raises CannotBuild, and AssertionError with what the
    build said.
    """
    root = roots.root(suite, builder())
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("sockact_*"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="sockact-source-") as folder, Machine(root) as machine:
        source = _source(Path(folder), version)
        place = machine.path("/build")
        shutil.copytree(folder, place, symlinks=True)
        machine.run("chown", "-R", f"{BUILDER}:", "/build", check=True)
        environment = {"HOME": "/build"} | ({} if tests else {"DEB_BUILD_OPTIONS": "nocheck"})
        words = ("sh", "-c", f"cd /build/{source.name} && dpkg-buildpackage --no-sign 2>&1")
        done = machine.run(*words, user=BUILDER, timeout=TIMEOUT, environment=environment)
        (output / "build.log").write_text(done.stdout)
        assert done.returncode == 0, done.stdout[-6000:]
        for path in place.iterdir():
            if path.is_file():
                shutil.copy(path, output)


def lintian(suite: str, folder: Path) -> str:
    """What lintian says of all that was built into a folder."""
    with Machine(roots.root(suite, builder())) as machine:
        shutil.copytree(folder, machine.path("/build"))
        (changes,) = folder.glob("*.changes")
        words = ("lintian", "--pedantic", "--display-info", "--tag-display-limit=0")
        done = machine.run(*(*words, f"/build/{changes.name}"), user=BUILDER, timeout=TIMEOUT)
    return done.stdout + done.stderr


def _source(folder: Path, version: str) -> Path:
    """The unpacked source package, with the archive of its upstream part beside it."""
    tree = folder / "source"
    files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True)
    for name in files.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            copy = tree / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
    if version:
        _upgrade(tree, version)
    changelog = (tree / "debian" / "changelog").read_text()
    upstream = changelog.partition("(")[2].partition("-")[0]
    _settle(tree, changelog.partition("\n -- ")[2].partition(">  ")[2].partition("\n")[0])
    source = tree.rename(folder / f"sockact-{upstream}")
    same = ("--sort=name", "--owner=0", "--group=0", "--numeric-owner")
    without = ("--anchored", f"--exclude={source.name}/debian")
    archive = folder / f"sockact_{upstream}.orig.tar.gz"
    subprocess.run(
        ["tar", *same, *without, "-I", "gzip -9n", "-C", folder, "-cf", archive, source.name],
        check=True,
    )
    return source


def _settle(tree: Path, date: str) -> None:
    """Give all files the time of the package, and modes that do not come from a umask."""
    seconds = parsedate_to_datetime(date).timestamp()
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (seconds, seconds))


def _upgrade(tree: Path, version: str) -> None:
    """Make it the source of a later version, `UPSTREAM-REVISION`."""
    upstream = version.partition("-")[0]
    for name, key in (("sockact/__init__.py", "__version__"), ("pyproject.toml", "version")):
        text = (tree / name).read_text()
        text = re.sub(rf'^{key} = ".*"$', f'{key} = "{upstream}"', text, flags=re.MULTILINE)
        (tree / name).write_text(text)
    changelog = tree / "debian" / "changelog"
    text = changelog.read_text()
    changelog.write_text(re.sub(r"\(.*?\)", f"({version})", text, count=1) + "\n" + text)


def main() -> int:
    """Build from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.deb", description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR")
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="SUITE")
    options = parser.parse_args()
    if reason := roots.missing() or machines.missing():
        sys.stderr.write(f"deb: {reason}; on Debian, dpkg-buildpackage needs none of it\n")
        return 1
    for suite in options.suites:
        folder = options.output / suite
        sys.stdout.write(
            f"deb: {suite}: building into {folder}, in a booted root of its own (the first time it "
            f"is downloaded, 850 MB); see {folder}/build.log\n"
        )
        sys.stdout.flush()
        try:
            build(suite, folder)
        except (roots.CannotBuild, AssertionError) as error:
            sys.stderr.write(f"deb: {error}\n")
            return 1
        for path in sorted(folder.glob("*.deb")):
            sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
