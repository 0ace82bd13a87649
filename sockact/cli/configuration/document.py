"""A configuration file as plain data, with the line of each key.

The file may contain anything: reading it is quick, and raises nothing but `Unreadable`.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sockact.trust import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Lines = dict[tuple[str, ...], int]

LARGEST = 64 * 1024
"""Bytes; far more than anybody writes by hand."""
_DEEPEST = 20
_PARSED_AT_MOST = 2 * 1024 * 1024
"""Bytes that may be parsed again to find the lines of a TOML file."""
_MOST_DOTS = 1000
"""Dots between two equals signs in a line of TOML; tomllib's time grows with their square."""
_TOO_DEEP = "nested too deeply"
_STATED = re.compile(r" \(at line (\d+), column \d+\)$")
_YAML = "tag:yaml.org,2002:"
_YAML_BOOL, _YAML_TEXT = f"{_YAML}bool", f"{_YAML}str"
_YAML_TAGS = {
    _YAML + name for name in ("bool", "float", "int", "map", "null", "seq", "str", "timestamp")
}
_LONGEST_TAG = 60
_PART = r"""(?:[\w-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_HEADER = re.compile(rf"\s*\[\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]")
_DOT = re.compile(r"""[\w"'-][ \t]*\.""")
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}\[\]]')


class Unreadable(Exception):
    """The file cannot be read: why, and on which line (from 1; 0 for no particular one)."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True)
class Document:
    """The contents of a file."""

    values: dict[str, object]
    lines: Lines = field(default_factory=dict)
    """Path of keys → line, from 1."""
    text: str = ""

    def line(self, *path: str) -> int:
        """The line of this key, or of the closest table around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(path: str) -> Document:
    """The document in this file. Raises Unreadable."""
    return parse(contents(path), os.path.splitext(path)[1])


def parse(data: bytes, extension: str) -> Document:
    """The document in these bytes, in the format of the extension. Raises Unreadable."""
    reader = _READERS.get(extension)
    if reader is None:
        raise Unreadable(0, f"the file name must end in {', '.join(_READERS)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, f"byte {error.start + 1} of the file is not valid UTF-8") from None
    try:
        values, lines = reader(text)
    except RecursionError:
        raise Unreadable(0, _TOO_DEEP) from None
    except ValueError as error:
        # A single value is impossible, such as a number of 5,000 digits.
        line = _line_of_value(reader, text, type(error))
        raise Unreadable(line, str(error).partition("; use sys.")[0]) from None
    if not isinstance(values, dict):
        raise Unreadable(1, "must be a table of keys and values, such as `command: [a, b]`")
    return Document(values, lines, text)


def _line_of_value(
    reader: Callable[[str], tuple[object, Lines]], text: str, kind: type[ValueError]
) -> int:
    """The first line with which the text up to there has this error, too."""
    rows = text.split("\n")
    good, bad = 0, len(rows)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            reader("\n".join(rows[:middle]))
        except Unreadable:
            good = middle  # It only ends too early.
        except ValueError as error:
            good, bad = (good, middle) if type(error) is kind else (middle, bad)
        else:
            good = middle
    return bad


def contents(path: str) -> bytes:
    """The bytes of this file, a regular one of at most `LARGEST`. Raises Unreadable."""
    try:
        found = files.read(path, LARGEST + 1)
    except OSError as error:
        raise Unreadable(0, error.strerror or str(error)) from None
    if len(found) > LARGEST:
        raise Unreadable(0, f"larger than {LARGEST // 1024} KiB")
    return found


def _toml(text: str) -> tuple[object, Lines]:
    for number, row in enumerate(text.split("\n"), 1):
        if any(len(_DOT.findall(part)) > _MOST_DOTS for part in row.split("=")):
            raise Unreadable(number, _TOO_DEEP)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        stated = _STATED.search(str(error))
        line = int(stated[1]) if stated else text.rstrip().count("\n") + 1
        raise Unreadable(line, _STATED.sub("", str(error))) from None
    return values, _toml_lines(text)


def _toml_lines(text: str) -> Lines:
    """The line of each key, which tomllib does not tell.

    What looks like a key starts a statement if the text before is whole; else it is part of a
    multi-line value.
    """
    found: Lines = {}
    table: tuple[str, ...] = ()
    rows = text.split("\n")
    begun, cost = 0, 0
    for number, row in enumerate(rows):
        header = _HEADER.match(row)
        key = None if header else _KEY.match(row)
        if not header and not key:
            continue
        before = "\n".join(rows[begun:number])
        cost += len(before)
        if cost > _PARSED_AT_MOST:
            break
        if not _is_whole(before):
            continue
        begun = number
        if header:
            table = _toml_path(f"[{header[1]}]")
            found.setdefault(table, number + 1)
        elif key:
            path = table + _toml_path(f"{key[1]} = {{}}")
            for length in range(len(table) + 1, min(len(path), _DEEPEST) + 1):
                found.setdefault(path[:length], number + 1)
    return found


def _is_whole(statement: str) -> bool:
    try:
        tomllib.loads(statement)
    except (ValueError, RecursionError):
        return False
    return True


def _toml_path(statement: str) -> tuple[str, ...]:
    """The nested keys of a statement."""
    path: list[str] = []
    inner: Any = tomllib.loads(statement)
    while inner:
        ((key, inner),) = inner.items()
        path.append(key)
    return tuple(path)


def _json(text: str) -> tuple[object, Lines]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(error.lineno, error.msg) from None
    lines: Lines = {}
    for path, line in _json_keys(text):
        if path in lines:
            raise Unreadable(line, f"duplicate key {path[-1]!r}, first given on line {lines[path]}")
        lines[path] = line
    return values, lines


def _json_keys(text: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """The keys outside lists, with their lines, of a text that is known to be JSON."""
    path: list[str] = [""]
    line, at, lists = 1, 0, 0
    for token in _TOKEN.finditer(text):
        line, at = line + text.count("\n", at, token.start()), token.start()
        if token[2]:
            path[-1] = json.loads(token[1])
            if not lists:
                yield tuple(path[1:]), line
        elif token[0] == "{":
            path.append("")
        elif token[0] == "}":
            path.pop()
        elif token[0] in "[]":
            lists += 1 if token[0] == "[" else -1


def _yaml(text: str) -> tuple[object, Lines]:
    try:
        import yaml  # An optional dependency, for such files only.
    except ImportError:
        raise Unreadable(0, "reading YAML requires PyYAML; install python3-yaml") from None
    lines: Lines = {}
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent):
                raise Unreadable(line, "aliases (*) are not supported")
            opens = isinstance(event, yaml.CollectionStartEvent)
            depth += opens - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:  # PyYAML takes minutes for very deep nesting.
                raise Unreadable(line, _TOO_DEEP)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _yaml_lines(node, (), lines)
        _yaml_values(loader, node)
        return (None if node is None else loader.construct_document(node)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(mark.line + 1 if mark else 0, error.problem or "not valid YAML") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(line, f"invalid character: {error.reason}") from None


def _yaml_values(loader: Any, node: Any) -> None:
    """Construct every value by itself: PyYAML's own errors tell no line, and are of every kind."""
    if node is None:
        return
    line = node.start_mark.line + 1
    if node.tag not in _YAML_TAGS:
        name = node.tag.replace(_YAML, "!!")
        raise Unreadable(line, f"the tag {name[:_LONGEST_TAG]} is not supported; leave it out")
    if node.id == "scalar":
        try:
            loader.construct_object(node)
        except Exception as error:
            value, kind = node.value[:_LONGEST_TAG], node.tag.removeprefix(_YAML)
            raise Unreadable(line, f"{value!r} is not a valid {kind}") from error
    for below in node.value if node.id != "scalar" else ():
        for one in below if isinstance(below, tuple) else (below,):
            _yaml_values(loader, one)


def _yaml_lines(node: Any, path: tuple[str, ...], lines: Lines) -> None:
    for entry in node.value if node is not None and node.id == "mapping" else ():
        key, value = entry
        line, below = key.start_mark.line + 1, (*path, str(key.value))
        if below in lines:
            raise Unreadable(
                line, f"duplicate key {below[-1]!r}, first given on line {lines[below]}"
            )
        lines[below] = line
        if key.tag == _YAML_BOOL:
            key.tag = _YAML_TEXT  # YAML reads the key `on:` as true.
        _yaml_lines(value, below, lines)


_READERS: dict[str, Callable[[str], tuple[object, Lines]]] = {
    ".toml": _toml,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
}
EXTENSIONS = tuple(_READERS)
