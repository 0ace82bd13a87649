"""How `sockact run` becomes the supervisor, and which modules it loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

import pytest

from sockact.kernel import procfs
from tests import ROOT
from tests.support.helpers import helpers
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import StartService

HOSTILE = "raise SystemExit('this was not to be loaded')\n"


def without_python(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment without anything that Python itself reads."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**found, **(extra or {})}


def hostile(folder: Path, *names: str) -> Path:
    """A directory with modules that must not be loaded instead of the standard ones."""
    path = folder / "hostile"
    path.mkdir()
    for name in names:
        (path / f"{name}.py").write_text(HOSTILE)
    return path


@pytest.mark.parametrize("python", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_the_supervisor_keeps_the_pid(
    python: dict[str, str], folder: Path, start: StartService
) -> None:
    program = Program(folder)
    service = start(program.command, listen=program.listen, environment=without_python(python))
    assert service.status()["pid"] == service.process.pid
    program_pid = service.status()["generations"][0]["pid"]
    left = {*procfs.children(service.process.pid)} - {*helpers(service.process.pid)}
    assert left == {program_pid}, "only the program is left"


def test_pythonpath_is_for_the_program(folder: Path, start: StartService) -> None:
    program = Program(folder)
    path = hostile(folder, "click", "psutil")
    environment = without_python({"PYTHONPATH": str(path)})
    service = start(program.command, listen=program.listen, environment=environment)
    generation = service.status()["generations"][0]
    with open(f"/proc/{generation['pid']}/environ", "rb") as file:
        assert any(
            line.startswith(b"PYTHONPATH=") and line.endswith(os.fsencode(path))
            for line in file.read().split(b"\0")
        )


@pytest.mark.parametrize("command", [("--version",), ("run",), ("--", "run"), ("status", "nobody")])
@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": "."}, {"PYTHONUNBUFFERED": "1"}])
def test_nothing_else_is_loaded(
    command: tuple[str, ...], variables: dict[str, str], folder: Path
) -> None:
    path = hostile(folder, "json", "signal", "click", "socket", "selectors")
    (path / "sockact").symlink_to(ROOT / "sockact")
    done = subprocess.run(
        [sys.executable, "-m", "sockact", *command],
        env=without_python({"SOCKACT_RUNTIME_DIR": str(folder), **variables}),
        cwd=path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "not to be loaded" not in done.stderr, done.stderr
    assert done.returncode == {"--version": 0, "status": 3}.get(command[0], 2), done.stderr


def test_it_is_this_package_whatever_else_is_installed(folder: Path) -> None:
    """A copy is run by its path; the sockact of the environment is another one."""
    copy = folder / "copy" / "sockact"
    shutil.copytree(ROOT / "sockact", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__init__.py").write_text('__version__ = "7.7.7.7"\n')
    installed = venv_with(folder, ROOT)
    words = (str(installed), "-I", str(copy / "__main__.py"), "--version")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("sockact 7.7.7.7\n", "")


def venv_with(folder: Path, path: Path) -> Path:
    """An interpreter of its own that also looks in `path` for modules, by a .pth file."""
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python3*/site-packages")
    (site / "more.pth").write_text("".join(f"{one}\n" for one in (path, *sys.path) if one))
    return folder / "venv" / "bin" / "python"
