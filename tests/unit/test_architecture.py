"""The rooms of docs/design.md: who imports whom, what the supervisor loads, how large files get."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tools import rooms

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "sockact"

IMPURE = {"os", "socket", "time", "select", "signal", "subprocess", "threading", "random"}
LONGEST_MODULE = 350
LONGEST_FUNCTION = 50

# What the supervisor loads on top of a bare `python3 -I` before it is told what to run.
LOADED = (
    "array collections contextlib ctypes enum errno fcntl functools gc heapq itertools keyword "
    "math operator reprlib resource select selectors signal sockact socket struct types"
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


MODULES = rooms.read()
GRAPH = rooms.rooms(MODULES)

# Their rooms, with all that is inside, are below those that come after them. A room that is not
# named belongs to the next one outside that is.
LAYERS = ("core", "trust", "kernel", "handover", "systemd", "supervisor", "units", "cli")

# Classes of ours may be extended where that is the point of them.
EXTENDED = ("Exception", "Error", "Protocol", "Enum", "Failure", "Refused", "Unavailable")


def modules() -> list[Path]:
    """Every Python file of the package."""
    return [module.path for module in MODULES.values()]


def room_ids(room: str) -> str:
    return room.removeprefix("sockact.")


def imported(path: Path) -> set[str]:
    """The full names of all that a file imports: modules, and names of modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module))
    return found


def test_no_circle_of_modules() -> None:
    """Imports for types only count: a reader follows them, too."""
    assert rooms.circles({name: module.imports for name, module in MODULES.items()}) == []


def test_rooms_import_only_rooms_below() -> None:
    assert rooms.circles(GRAPH) == []


@pytest.mark.parametrize("room", GRAPH, ids=room_ids)
def test_layers(room: str) -> None:
    layer = room.split(".")[1] if "." in room else ""
    others = {other.split(".")[1] for other in GRAPH[room]} - {layer}
    if layer == "shim":
        assert not others, "it runs inside the program"
    elif layer:
        assert others <= {*LAYERS[: LAYERS.index(layer)]}
        if layer == "supervisor":
            assert "units" not in others


@pytest.mark.parametrize(
    # The package itself has the version, and the shim is no part of the supervisor's process.
    "room",
    [room for room in GRAPH if room != "sockact" and not room.startswith("sockact.shim")],
    ids=room_ids,
)
def test_face(room: str) -> None:
    """A room names in its `__all__` the modules that others may import, and only those."""
    text = MODULES[room].path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    named = {
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    }
    assert named == rooms.faces(MODULES)[room]


@pytest.mark.parametrize("room", GRAPH, ids=room_ids)
def test_room_is_small(room: str) -> None:
    inside = [module for module in MODULES.values() if module.room == room]
    assert len(inside) <= rooms.MOST_MODULES


def base_names() -> Iterator[tuple[str, str, str]]:
    """(module, class, base class) of each class that extends another one."""
    for module in MODULES.values():
        for node in ast.walk(ast.parse(module.path.read_text())):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    yield module.name, node.name, ast.unparse(base)


def test_composition_instead_of_inheritance() -> None:
    ours = {
        node.name
        for module in MODULES.values()
        for node in ast.walk(ast.parse(module.path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    for module, name, base in base_names():
        if base in ours:
            assert base.endswith(EXTENDED), f"{module}.{name} extends {base}"


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if path.is_relative_to(PACKAGE / "supervisor")],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_nothing_is_set_from_outside(path: Path) -> None:
    """An object's attributes are set by the code of its own module."""
    tree = ast.parse(path.read_text())
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and isinstance(node.ctx, ast.Store)
    }
    # Fields of records, and slots.
    own |= {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            text = ast.unparse(node.value)
            assert text == "self" or node.attr in own, f"{text}.{node.attr} is set from outside"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda p: p.name)
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


def test_size_of_test_modules() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert not [path for path, length in lengths.items() if length > LONGEST_MODULE]


def loaded(code: str, whole: bool = False) -> set[str]:
    """The modules of a fresh interpreter after `code`: packages only, or their `whole` names."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; {code}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return {name if whole else name.partition(".")[0] for name in done.stdout.split()}


def test_supervisor_loads_little() -> None:
    bare = loaded("pass")
    ours = "sockact.supervisor.main, sockact.supervisor.resume, sockact.supervisor.outside"
    found = loaded(f"sys.path.append({str(ROOT)!r}); import {ours}")
    assert not {*FORBIDDEN} & (found - bare)
    public = {name for name in found - bare if not name.startswith("_")}
    assert public - {*LOADED.split()} == set()


def test_a_supervisor_that_serves_loads_nothing_more() -> None:
    """Another version may have been installed since its start: docs/upgrade.md."""
    here = f"sys.path.append({str(ROOT)!r})"
    present = loaded(f"{here}; import sockact.supervisor.outside", whole=True)
    late = {
        (name, needed)
        for name in present & {*MODULES}
        for needed in imported_in_functions(MODULES[name].path)
        if needed not in present
    }
    assert late == set()


def imported_in_functions(path: Path) -> set[str]:
    """The modules of the package that are loaded only when a function is called."""
    found = set()
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    names = {str(node.module), *(f"{node.module}.{x.name}" for x in node.names)}
                    found |= names & {*MODULES}
    return found


def test_the_picture_is_up_to_date() -> None:
    page = rooms.PAGE.read_text()
    assert page == rooms.with_picture(page, rooms.picture(MODULES)), "write it anew: make docs"
