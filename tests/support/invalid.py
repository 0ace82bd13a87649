"""Invalid configuration files, from a generator that always makes the same ones."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from sockact.cli.configuration import document

if TYPE_CHECKING:
    from collections.abc import Callable

    Kind = Callable[[random.Random, dict[str, object]], bytes]

WHOLE = """\
# A service.
command = ["/srv/app/current/bin/serve", "--port", "80"]
directory = "/"
release = "/"
listen = ["127.0.0.1:8000", "web=[::1]:8000"]
adopt = "seccomp"
ready = "notify"
start-timeout = "2min"
trial = 5
probe = "tcp"
probe-interval = 0.5
max-draining = 2
stop-signal = "INT"

[environment]
DATABASE = "db"
"EMPTY" = ""
"""

VALUES: tuple[object, ...] = (None, True, -1, 10**30, 1.5, "", "\0", "x" * 500, [], [[]], {}, [1])


def wrong_type(chance: random.Random, said: dict[str, object]) -> bytes:
    said[chance.choice([*said, "max-draining", "trial", "command"])] = {"A": chance.choice(VALUES)}
    if isinstance(said.get("environment"), dict):
        said["environment"] = chance.choice((1, "a", [], None))
    return json.dumps(said, indent=1).encode()


def unknown_key(chance: random.Random, said: dict[str, object]) -> bytes:
    key = chance.choice([*said])
    at = chance.randrange(len(key) + 1)
    said[key[:at] + chance.choice("_xZ9 \t.é\n") + key[at:]] = said.pop(key)
    return json.dumps(said, indent=1).encode()


def truncated(chance: random.Random, said: dict[str, object]) -> bytes:
    whole = json.dumps(said, indent=1).encode()
    return whole[: chance.randrange(len(whole) - 1)]


def binary(chance: random.Random, _said: dict[str, object]) -> bytes:
    return chance.randbytes(chance.randrange(1, 5000)) + b"\xff"


def huge(chance: random.Random, _said: dict[str, object]) -> bytes:
    return chance.choice((b"[", b"{", b"a", b'"', b"\n", b"\0")) * (document.LARGEST + 1)


def make(kind: Kind, number: int) -> tuple[str, bytes]:
    """The extension and the content of one file."""
    chance = random.Random(f"{kind.__name__} {number}")
    data = kind(chance, dict(document.parse(WHOLE.encode(), ".toml").values))
    # JSON is YAML, too, but for its escapes; as TOML it breaks in the first line.
    extension = chance.choice((".json", ".json", ".yaml", ".toml"))
    if extension == ".yaml" and kind in (binary, huge):
        data = b"a: " + data
    return extension, data


KINDS: tuple[Kind, ...] = (wrong_type, unknown_key, truncated, binary, huge)
