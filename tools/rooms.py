"""The rooms of sockact/ and the imports between them.

    python tools/rooms.py            print the rooms by level, and what breaks the rules
    python tools/rooms.py --write    update the picture in docs/design.md

A room is a package: its own modules, without those of the rooms inside it. A room imports only
rooms of lower levels. Imports for types only count, because readers follow them, too. The exit
status is 1 where a rule of docs/design.md is broken.
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
PAGE = ROOT / "docs" / "design.md"
BEGIN, END = "<!-- rooms: written by tools/rooms.py -->\n", "<!-- end of rooms -->\n"


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


def picture(modules: dict[str, Module]) -> str:
    """The rooms as Markdown tables, the highest level first. Raises ValueError for a circle."""
    graph = rooms(modules)
    lines = ["| level | room | what it is for | imports |", "| --- | --- | --- | --- |"]
    for number, level in reversed([*enumerate(levels(graph))]):
        for room in level:
            below = ", ".join(sorted(map(_short, graph[room]))) or "nothing"
            lines.append(
                f"| {number} | `{_short(room)}/` | {_sentence(modules.get(room))} | {below} |"
            )
    return "\n".join(lines) + "\n"


def with_picture(page: str, picture: str) -> str:
    """The page with this picture between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{picture}\n{END}{after}"


def _short(room: str) -> str:
    return room.removeprefix(f"{PACKAGE}.")


def _sentence(room: Module | None) -> str:
    if room is None:
        return "On the path of wrapped programs; no package."
    text = ast.get_docstring(ast.parse(room.path.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def wrong(modules: dict[str, Module]) -> list[str]:
    """What breaks the rules, one line each."""
    graph = rooms(modules)
    imports = {name: module.imports for name, module in modules.items()}
    found = [f"circle of modules: {', '.join(ring)}" for ring in circles(imports)]
    found += [f"circle of rooms: {', '.join(ring)}" for ring in circles(graph)]
    for room in graph:
        count = sum(module.room == room for module in modules.values())
        if count > MOST_MODULES:
            found.append(f"{room}: {count} modules")
    return found


def main(words: list[str]) -> int:
    """Do what the words say; the exit status."""
    modules = read()
    if words == ["--write"]:
        PAGE.write_text(with_picture(PAGE.read_text(), picture(modules)))
        return 0
    found = wrong(modules)
    graph = rooms(modules)
    if not circles(graph):
        for number, level in enumerate(levels(graph)):
            sys.stdout.write(f"{number} {' '.join(map(_short, level))}\n")
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
