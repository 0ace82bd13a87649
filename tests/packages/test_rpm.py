"""What is in the RPM package, and how it is made: with $SOCKACT_TEST_PACKAGES=insist."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

import sockact
from tests import ROOT
from tests.packages import rpms, wanted
from tests.packages.rpms import SPEC

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = "/usr/share/sockact/sockact/"

pytestmark = pytest.mark.timeout(300, func_only=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, without its own tests: those run anyway."""
    wanted.check(*rpms.TOOLS)
    return rpms.build(tmp_path_factory.mktemp("rpm"), "--without", "check")


def test_two_builds_are_identical(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("LC_ALL", "C")
    before = os.umask(0o077)
    try:
        again = rpms.build(tmp_path, "--without", "check")
    finally:
        os.umask(before)
    for one in built.parent.iterdir():
        assert one.read_bytes() == (again.parent / one.name).read_bytes(), one.name
    assert len(list(built.parent.iterdir())) == 2


def test_version_is_that_of_the_package() -> None:
    assert re.findall(r"^Version: +(.+)$", SPEC.read_text(), re.MULTILINE) == [sockact.__version__]


@pytest.mark.parametrize(
    ("distribution", "python", "interpreter"),
    [
        ("fedora 43", "python3", "/usr/bin/python3"),
        ("rhel 10", "python3", "/usr/bin/python3"),
        ("rhel 9", "python3.12", "/usr/bin/python3.12"),
        ("suse_version 1699", "python3", "/usr/bin/python3"),
        ("suse_version 1500", "python311", "/usr/bin/python3.11"),
    ],
)
def test_python_of_each_distribution(distribution: str, python: str, interpreter: str) -> None:
    wanted.check("rpmspec")
    text = rpms.expanded(distribution)
    names = re.findall(r"^(?:Build)?Requires: +(python[0-9.]+)", text, re.MULTILINE)
    assert set(names) == {python}
    assert f"1s|.*|#!{interpreter} -I|" in text
    assert "%{" not in text


def test_requires_what_the_wheel_requires(built: Path) -> None:
    """By the names of the distributions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    wanted = {re.split("[<>=]", text)[0].removesuffix("-python") for text in texts}
    found = rpms.query(built, "[%{REQUIRENAME}\n]").splitlines()
    assert {name for name in found if name.startswith("python3-")} == {
        f"python3-{name}" for name in wanted
    }
    assert "/usr/bin/python3" in found


def test_it_is_apart_from_the_python_packages_of_the_system(built: Path) -> None:
    found = rpms.query(built, "[%{FILENAMES}\n]").splitlines()
    assert not [path for path in found if "-packages" in path]
    tops = {path.split("/")[4] for path in found if path.startswith("/usr/share/sockact/")}
    assert tops == {"sockact"}
    shim = {
        path.removeprefix(f"{PRIVATE}shim/").split("/")[0]
        for path in found
        if path.startswith(f"{PRIVATE}shim/")
    }
    assert shim == {"sitecustomize.py", "sockact_shim", "__pycache__"}


def test_it_has_all_of_the_source(built: Path) -> None:
    found = set(rpms.query(built, "[%{FILENAMES}\n]").splitlines())
    package = ROOT / "sockact"
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {f"{PRIVATE}{path.relative_to(package)}" for path in files} <= found
    compiled = {path for path in found if path.endswith(".pyc")}
    assert len(compiled) == len(list(package.rglob("*.py")))
    assert {f"/usr/lib/systemd/{unit}" for unit in wanted.UNITS} <= found


def test_rpmlint(built: Path, tmp_path: Path) -> None:
    packages = sorted(built.parent.iterdir())
    config = ROOT / "packaging" / "rpmlint.toml"
    done = subprocess.run(
        ["rpmlint", "--strict", "--config", config, *packages, SPEC],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " 0 errors, 0 warnings" in done.stdout
