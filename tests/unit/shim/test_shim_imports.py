"""What the shim may use: the standard library, and the language of its oldest Python."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import sockact

SHIM = Path(sockact.__file__).parent / "shim"
FILES = sorted(SHIM.rglob("*.py"))
OLDEST = (3, 8)
# Before any of these may be imported, the program must have done so, or the supervisor must call.
AT_START = {"__future__", "_signal", "os", "sys", "time", "sitecustomize", "sockact_shim"}


def imported(tree: ast.AST) -> set[str]:
    """The absolute imports at the top of a module, but those for types."""
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


def test_every_adapter_is_known() -> None:
    folder = SHIM / "sockact_shim" / "adapters"
    tree = ast.parse((folder / "__init__.py").read_text())
    (table,) = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    named = {key.value for key in table.keys if isinstance(key, ast.Constant)}
    found = {path.relative_to(folder).with_suffix("") for path in folder.rglob("*.py")}
    assert named == {".".join(path.parts) for path in found if path.name != "__init__"}
