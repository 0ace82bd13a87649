"""The rooms of docs/design.md: who imports whom, what the supervisor loads, how big files get."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "sockact"

# Room → what it may import of sockact, at run time or for its types.
ARROWS = {
    "core": ("core",),
    "kernel": ("kernel", "core.drain", "core.errors", "core.matching", "core.model", "core.record"),
    "handover": ("handover", "kernel", "core"),
    "systemd": ("systemd", "kernel", "core", "handover.interest"),
    "supervisor": ("supervisor", "handover", "kernel", "systemd", "core", ""),
    # The client's side of the control socket, and what both sides share.
    "cli": (
        *("cli", "supervisor.client", "supervisor.paths", "supervisor.varlink", "core", ""),
        "supervisor.state_dir",
        *("systemd.addresses", "systemd.check", "systemd.check_socket", "systemd.facts"),
        *("systemd.manager", "systemd.templates", "systemd.unitfile", "systemd.units"),
        *("systemd.marks", "systemd.migrate", "systemd.notes", "systemd.places"),
        *("systemd.outage", "systemd.running"),
        *("systemd.refusals", "systemd.socket_unit", "systemd.undoing"),
        *("systemd.unwrapping", "systemd.wrapping"),
        *("systemd.listeners", "systemd.listening", "systemd.logrotate"),
        "systemd.path_unit",
    ),
    "shim": (),
}
IMPURE = {"os", "socket", "time", "select", "signal", "subprocess", "threading", "random"}
LONGEST_MODULE = 350
LONGEST_FUNCTION = 50

# What the supervisor loads on top of a bare `python3 -I` before it is told what to run.
LOADED = (
    "array collections contextlib copyreg ctypes enum errno fcntl functools gc heapq itertools "
    "json keyword math operator re reprlib resource select selectors signal sockact socket struct "
    "types"
)
FORBIDDEN = (
    "click",
    "psutil",
    "asyncio",
    "logging",
    "argparse",
    "subprocess",
    "typing",
    "threading",
    "http",
    "urllib",
    "email",
    "ssl",
    "tempfile",
    "shutil",
    "pathlib",
    "traceback",
    "dataclasses",
    "inspect",
)


def modules() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def imported(path: Path) -> set[str]:
    """The full names of all that a file imports; `from a import b` may be the module a.b or a."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                below = ROOT.joinpath(*whole.split("."))
                exists = below.with_suffix(".py").exists() or below.is_dir()
                found.add(whole if exists else str(node.module))
    return found


def ours(name: str) -> str | None:
    """A name below sockact without that prefix; None for other packages."""
    if name == "sockact":
        return ""
    return name.removeprefix("sockact.") if name.startswith("sockact.") else None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room = room_of(path)
    if not room:
        return
    for name in imported(path):
        inner = ours(name)
        if inner is None:
            continue
        allowed = any(inner == way or (way and inner.startswith(f"{way}.")) for way in ARROWS[room])
        assert allowed, f"{room} must not import {name}"


@pytest.mark.parametrize(
    "files",
    ["*.py", *(f"{room}/*.py" for room in ("core", "kernel", "handover", "supervisor"))]
    + [f"systemd/{name}.py" for name in ("listeners", "notify", "journal", "fdstore")],
)
def test_no_module_of_ours_is_loaded_late(files: str) -> None:
    """The package may be replaced under a running supervisor: docs/upgrade.md."""
    found = [path for path in PACKAGE.glob(files) if path.name != "__main__.py"]
    assert found
    for path in found:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                inner = ast.Module(node.body, [])
                names = [x for x in ast.walk(inner) if isinstance(x, ast.Import | ast.ImportFrom)]
                assert "sockact" not in " ".join(map(ast.unparse, names)), (path, node.name)


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=lambda p: p.name)
def test_core_is_pure(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & IMPURE


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_size(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, node.name


def loaded(code: str) -> set[str]:
    """The top-level modules of a fresh interpreter after `code`, without their leading _."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_supervisor_loads_little() -> None:
    bare = loaded("pass")
    ours = "sockact.supervisor.main, sockact.supervisor.resume"
    found = loaded(f"sys.path.append({str(ROOT)!r}); import {ours}")
    assert not {*FORBIDDEN} & (found - bare)
    public = {name for name in found - bare if not name.startswith("_")}
    assert public - {*LOADED.split()} == set()
