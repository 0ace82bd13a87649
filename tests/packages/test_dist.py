"""The source distribution and the wheel: what is in them, how they are made, and that an installed
wheel adopts listeners of systemd without anything that has to be compiled (with
$SOCKACT_TEST_PACKAGES=insist).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import pytest

import sockact
from tests import ROOT
from tests.packages import wanted
from tests.support import service as support
from tests.support.program import Hammer, Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# Of what git has, that is of no use without it, or for packages of another kind.
ONLY_IN_GIT = (".ci/", ".gitignore", "debian/")
# What systemd does between fork and exec. Other commands have no such descriptor.
AS_SYSTEMD = """
import os, sys
os.dup2({fd}, 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""

pytestmark = [
    pytest.mark.timeout(120, func_only=True),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no git checkout"),
]


class Dist(NamedTuple):
    """What `make dist` has made."""

    source: Path
    wheel: Path


def build(folder: Path) -> Dist:
    """As `make dist` does it."""
    done = subprocess.run(
        [ROOT / "packaging" / "build-dist", sys.executable, folder],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    name = f"sockact-{sockact.__version__}"
    found = Dist(folder / f"{name}.tar.gz", folder / f"{name}-py3-none-any.whl")
    assert set(folder.iterdir()) == set(found)
    return found


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment with the wheel, made where no compiler is to be found."""
    wanted.check()
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = subprocess.run(
        [folder / "bin" / "pip", "install", "--quiet", dist.wheel],
        env={**os.environ, "PATH": str(folder / "bin"), "CC": "false", "CXX": "false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_two_builds_are_identical(
    dist: Dist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "C")
    before = os.umask(0o077)
    try:
        again = build(tmp_path / "again")
    finally:
        os.umask(before)
    for one, other in zip(dist, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_source_has_what_git_has(dist: Dist) -> None:
    with tarfile.open(dist.source) as archive:
        members = {member.name.partition("/")[2]: member for member in archive}
    assert {(one.uid, one.gid, one.uname, one.gname) for one in members.values()} == {
        (0, 0, "", "")
    }
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known = {name for name in listed.stdout.split("\0") if name}
    assert {name for name in known - set(members) if not name.startswith(ONLY_IN_GIT)} == set()
    assert not {name for name in members if name.startswith(ONLY_IN_GIT)}
    assert members["packaging/build-dist"].mode == 0o755


def test_wheel_has_the_package_and_nothing_else(dist: Dist) -> None:
    with zipfile.ZipFile(dist.wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    files = (ROOT / "sockact").rglob("*")
    ours = [path for path in files if path.is_file() and path.suffix != ".pyc"]
    (script,) = (name for name in names if name.endswith(".data/scripts/sockact"))
    names.remove(script)
    assert sorted(names) == sorted(str(path.relative_to(ROOT)) for path in ours)


def test_installed_it_needs_no_more_than_it_says(installed: Path) -> None:
    done = subprocess.run(
        [installed / "bin" / "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.partition("==")[0] for line in done.stdout.splitlines()}
    assert names - {"pip", "setuptools"} == {"sockact", "click", "sdnotify"}


def test_installed_it_adopts_and_reloads_a_listener_of_systemd(
    installed: Path, folder: Path, start: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "SOCKACT", (str(installed / "bin" / "sockact"),))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        program = Program(folder, sock.getsockname()[1])
        service = start(
            program.command,
            environment={**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            pass_fds=(sock.fileno(),),
            launcher=(sys.executable, "-c", AS_SYSTEMD.format(fd=sock.fileno())),
        )
        with Hammer(program.port) as hammer:
            hammer.wait_for("1")
            program.publish("2")
            outcome = service.reload()
            assert outcome.code == 0, outcome
            hammer.wait_for("2")
            service.wait_drained()
        assert hammer.failures == []
        status = service.run("status", "test", "--json").json()
        assert status["listeners"][0]["name"] == "web"
        # The program blocks in accept: only the shim can gate it, which came along.
        assert {one["gate"] for one in status["generations"]} == {"open"}, status
        assert service.stop() == 0


def test_installed_it_writes_units(installed: Path) -> None:
    command = (installed / "bin" / "sockact", "init", "web", "--listen", "127.0.0.1:8000")
    done = subprocess.run(
        [*command, "--dry-run", "--", "/bin/true"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"ExecStart={installed}/bin/sockact run" in done.stdout
