"""What the shim may use: the standard library, and the language of its oldest Python."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sockact

SHIM = Path(sockact.__file__).parent / "shim"
FILES = sorted(SHIM.rglob("*.py"))
OLDEST = (3, 8)
# These are imported only if the program has imported them, or when the supervisor calls.
AT_START = {"__future__", "_signal", "os", "sys", "time", "sitecustomize", "sockact_shim"}


def imported(tree: ast.AST) -> set[str]:
    """The absolute imports at the top of a module, except for types."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif node.level == 0 and node.module:
                names.add(node.module)
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            names |= imported(node)
    return names


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(SHIM)) for path in FILES])
def test_is_standard_library_of_the_oldest_python(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=OLDEST)
    own = {"sockact_shim", "sitecustomize"}
    assert {name.partition(".")[0] for name in imported(tree)} <= sys.stdlib_module_names | own


@pytest.mark.parametrize("name", ["sitecustomize.py", "sockact_shim/__init__.py"])
def test_the_start_costs_no_import(name: str) -> None:
    assert imported(ast.parse((SHIM / name).read_text())) <= AT_START


def test_the_start_loads_nothing_more() -> None:
    environment = {"PYTHONPATH": str(SHIM), "SOCKACT_SHIM": "sockact-test"}
    code = "import sys; print(*(name for name in sys.modules if name.startswith('sockact')))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sockact_shim"]


def test_a_call_loads_nothing_of_the_standard_library() -> None:
    """A child that another thread forks meanwhile would hang at its own call."""
    environment = {"PYTHONPATH": str(SHIM), "SOCKACT_SHIM": "sockact-test"}
    modules = {path.stem for path in (SHIM / "sockact_shim").glob("[a-z]*.py")}
    # Not of a call: it is loaded at the start, with --adopt shim.
    more = {"adapters", "counting", "spreading.moments", "spreading.websockets"}
    names = sorted(modules - {"adopt"} | more)
    code = f"""
import sockact_shim, sys
before = {{*sys.modules}}
for name in {names}: sockact_shim.load(name)
print(*(name for name in sys.modules if name not in before and "sockact" not in name))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_adapter_is_known() -> None:
    folder = SHIM / "sockact_shim" / "adapters"
    tree = ast.parse((folder / "__init__.py").read_text())
    closing, counting = (
        {key.value for key in table.keys if isinstance(key, ast.Constant)}
        for table in ast.walk(tree)
        if isinstance(table, ast.Dict)
    )
    files = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")}
    assert closing == {".".join(path.parts) for path in files if path.name != "__init__"}
    counters = {
        path.stem for path in folder.glob("*.py") if "def count_requests" in path.read_text()
    }
    assert counting == counters


def test_the_names_that_earlier_versions_ask_for() -> None:
    """Their call.py may be loaded already when a program asks for a module of this version."""
    names = "load('upgraded').inodes"
    code = f"import sys; sys.path.insert(0, {str(SHIM)!r}); from sockact_shim import load; {names}"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
