"""The rooms of sockact/ and the imports between them: `python tools/rooms.py [--svg FILE]`.

A room is a package: its own modules, without those of the rooms inside it. Type-only imports
count: what a reader has to follow is what is written. Prints the rooms by level (a room imports
only rooms of lower levels), every circle of modules, and every room with too many modules; ends
with exit status 1 where the rules of docs/design.md are broken.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "sockact"
MOST_MODULES = 14
"""Files of one room, its __init__ included."""


@dataclass
class Module:
    """One file, and the modules of the package that it imports."""

    name: str
    path: Path
    room: str
    imports: set[str] = field(default_factory=set)


def read(root: Path = ROOT) -> dict[str, Module]:
    """Every module of the package by its full name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ".".join(parts[:-1]))
    for module in found.values():
        module.imports = {name for name in _imported(module, found) if name != module.name}
    return found


def _imported(module: Module, known: dict[str, Module]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.room.split(".")
                base = ".".join([*parts[: len(parts) + 1 - node.level], *filter(None, [base])])
            for alias in node.names:
                # `from a import b`: the module a.b where there is one, else a name of a.
                whole = f"{base}.{alias.name}"
                found |= {name for name in ([whole] if whole in known else [base]) if name in known}
    return found


def rooms(modules: dict[str, Module]) -> dict[str, set[str]]:
    """Room → the other rooms that its modules import."""
    found: dict[str, set[str]] = {module.room: set() for module in modules.values()}
    for module in modules.values():
        for name in module.imports:
            # The package itself only has the version.
            if modules[name].room not in (module.room, PACKAGE):
                found[module.room].add(modules[name].room)
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other: Tarjan's strongly connected components."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in number:
            visit(node)
    return found


def levels(graph: dict[str, set[str]]) -> list[list[str]]:
    """Rooms by level, the lowest first. Raises ValueError when there is a circle."""
    left = {room: others & graph.keys() for room, others in graph.items()}
    found: list[list[str]] = []
    while left:
        ready = sorted(room for room, others in left.items() if not others)
        if not ready:
            raise ValueError(f"circle of rooms: {circles(left)}")
        found.append(ready)
        left = {room: others - {*ready} for room, others in left.items() if room not in ready}
    return found


def faces(modules: dict[str, Module]) -> dict[str, set[str]]:
    """Room → its modules that another room imports."""
    found: dict[str, set[str]] = {module.room: set() for module in modules.values()}
    for module in modules.values():
        for name in module.imports:
            if modules[name].room != module.room and name != modules[name].room:
                found[modules[name].room].add(name.rpartition(".")[2])
    return found


def main() -> int:
    """Print the levels, and what breaks the rules; the exit status."""
    modules = read()
    wrong = [f"circle of modules: {', '.join(ring)}" for ring in circles(_graph(modules))]
    graph = rooms(modules)
    wrong += [f"circle of rooms: {', '.join(ring)}" for ring in circles(graph)]
    for room in graph:
        count = sum(module.room == room for module in modules.values())
        if count > MOST_MODULES:
            wrong.append(f"{room}: {count} modules")
    if not circles(graph):
        for number, level in enumerate(levels(graph)):
            names = " ".join(room.removeprefix(f"{PACKAGE}.") for room in level)
            sys.stdout.write(f"{number} {names}\n")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


def _graph(modules: dict[str, Module]) -> dict[str, set[str]]:
    return {name: module.imports for name, module in modules.items()}


if __name__ == "__main__":
    sys.exit(main())
