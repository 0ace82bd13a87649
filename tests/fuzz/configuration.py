"""Configuration files, read as `sockact run --config` reads them."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import click

from sockact.cli.configuration import document, keys
from sockact.cli.starting import run
from tests.fuzz import mutation
from tests.fuzz.harness import Broken, Fuzzer, Parsers

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

GOOD = {
    "command": ["a", "b"],
    "listen": ["127.0.0.1:8000"],
    "environment": {"A": "b"},
    "on": {"running": "true", "draining": ["true", "x"]},
    "watch": ["/tmp"],
    "drain-timeout": "60s",
    "max-draining": 4,
    "log": "/tmp/x.log",
    "probe-status": "200-299",
    "stop-signal": "SIGINT",
    "trial": 5,
}
TOML = b"""\
command = ["a", "b"]
listen = ["127.0.0.1:8000"]
drain-timeout = "60s"
trial = 5
[environment]
A = "b"
[on]
running = "true"
"""
YAML = b"""\
command: [a, b]
listen:
- 127.0.0.1:8000
drain-timeout: 60s
trial: 5
on:
  running: "true"
"""
TOKENS = (
    *mutation.TOKENS,
    *(b'"""', b"'''", b"\\u0000", b"\\ud800", b"&a [*a,*a]", b"*a", b"<<: *a", b"!!binary |"),
    *(b"!!python/object/apply:os.system [id]", b"!!timestamp 9999-99-99", b"1979-05-27T99:99:99Z"),
    *(b"a." * 500, b"[[x]]", b"- " * 300, b"? ", b"| ", b">\n", b"%YAML 1.2\n---\n", b"---\n---\n"),
    *(b"\t", b"#", b"\xe2\x80\xa8", b"yes", b"null", b"~", b"a: " * 200, b"1_000", b"=" * 100),
)
# YAML takes ten times as long to read.
ENDINGS = (".toml", ".toml", ".toml", ".json", ".json", ".json", ".yaml")


class _Files:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._context = click.Context(run.command)
        self._json = json.dumps(GOOD, indent=1).encode()

    def one(self) -> None:
        """Only Unreadable, and a list of problems, may come of it."""
        ending = self._chance.choice(ENDINGS)
        data = self._make(ending)
        try:
            with contextlib.suppress(document.Unreadable):
                keys.check(document.parse(data, ending), self._context)
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}, of {ending} {data[:500]!r}") from error

    def good(self) -> None:
        """All formats, without a problem."""
        for ending, data in ((".toml", TOML), (".yaml", YAML), (".json", self._json)):
            found = keys.check(document.parse(data, ending), self._context)
            if found.problems or found.command != ("a", "b"):
                raise Broken(f"a sound {ending} file is misread: {found.problems}")

    def _make(self, ending: str) -> bytes:
        chance = self._chance
        if not chance.randrange(500):
            return (chance.choice(TOKENS) * chance.randrange(1, 2000))[: document.LARGEST]
        if ending == ".json" and chance.randrange(2):
            return mutation.text(chance, mutation.changed(chance, GOOD))
        data = {".toml": TOML, ".yaml": YAML}.get(ending, self._json)
        return mutation.garbled(chance, data, TOKENS)


@contextlib.contextmanager
def _target(chance: random.Random, _folder: Path) -> Iterator[Parsers]:
    files = _Files(chance)
    yield Parsers(files.one, files.good)


FUZZER = Fuzzer("configuration", _target, batch=2000, few=1000)
