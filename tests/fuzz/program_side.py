"""The shims' socket, $NOTIFY_SOCKET and seccomp's calls, as a process of the program uses them.

The messages are in senders.py and calls.py, which run in that process.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.fuzz.harness import Broken, Fuzzer
from tests.fuzz.supervised import Inside, inside

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def _shim(chance: random.Random, folder: Path) -> Iterator[Inside]:
    with inside(folder, "shim", str(chance.random())) as target:
        yield target


@contextlib.contextmanager
def _notify(chance: random.Random, folder: Path) -> Iterator[Inside]:
    options = ("--ready", "notify")
    with inside(folder, "notify", str(chance.random()), options=options) as target:
        yield target


@contextlib.contextmanager
def _calls(chance: random.Random, folder: Path) -> Iterator[Inside]:
    path = folder / "sockact-fuzz"
    with inside(folder, "calls", str(chance.random()), listen=(str(path),)) as target:
        yield target
        if not path.is_socket():
            raise Broken("the socket file of the listener is gone")


SHIM = Fuzzer("shim", _shim, batch=2000, few=4000)
NOTIFY = Fuzzer("notify", _notify, batch=5000, few=10_000)
CALLS = Fuzzer("calls", _calls, batch=2000, few=4000)
