"""Files in the state directory, which the program may write, too: the history and the snapshots.

Most are read in this process, by the supervisor's own readers; now and then a supervisor starts.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from sockact.core.history import snapshots
from sockact.core.history.failures import Window
from sockact.core.history.ledger import Account, LedgerEntry, Totals
from sockact.core.json_data import plain
from sockact.core.settings import Settings
from sockact.supervisor.records.history import FILE, History
from sockact.supervisor.records.snapshots import Snapshots
from tests.fuzz import mutation
from tests.fuzz.harness import Broken, Fuzzer, Parsers
from tests.support import varlink
from tests.support.program import Program
from tests.support.service import Service

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

WINDOW = Window(600.0, 5)
NOW = 1_700_000_000.0
SETTINGS = Settings("fuzz", ("true",), config="/etc/sockact/fuzz.toml", config_text="a")
NAMES = ("1.toml", "2.json", "0.toml", "999999999.toml", "9999999999.toml", "-1.toml", "01.toml")
ODD_NAMES = (*NAMES, "x", ".new", "1.toml.new", "\udcff.toml", "٣.toml", "1.", "²" * 20 + ".toml")


def sound() -> dict[str, object]:
    """A history as a supervisor writes it."""
    entry = LedgerEntry("ab" * 16, NOW, "command", False, 1, 2, number=3)
    account = Account(entries=(entry,), totals=Totals())
    failures = [[NOW + number, number, "exited with status 1"] for number in range(5)]
    return {"failures": failures, "starts": [NOW, NOW + 1], "ledger": plain(account)}


class _Files:
    def __init__(self, chance: random.Random, folder: Path) -> None:
        self._chance = chance
        self._folder = folder
        self._sound = sound()
        self._state = folder / "state" / "fuzz"
        (self._state / snapshots.DIRECTORY).mkdir(parents=True)
        self._looks = 0

    def one(self) -> None:
        """One history, and sometimes the snapshots."""
        data = mutation.text(self._chance, mutation.changed(self._chance, self._sound))
        (self._state / FILE).write_bytes(data)
        try:
            _use(History(str(self._state), WINDOW, _nothing, _now), not self._chance.randrange(5))
            if not self._chance.randrange(20):
                self._snapshots()
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}, of {data[:500]!r}") from error

    def _snapshots(self) -> None:
        directory = self._state / snapshots.DIRECTORY
        for path in directory.iterdir():
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in self._chance.sample(ODD_NAMES, 3):
            path = directory / name
            match self._chance.randrange(4):
                case 0:
                    path.symlink_to("/nowhere")
                case 1:
                    os.mkfifo(path)
                case 2:
                    path.mkdir()
                case _:
                    path.write_bytes(self._chance.randbytes(20))
        Snapshots(str(self._state), _nothing).keep(SETTINGS)

    def good(self) -> None:
        """A sound history is read; a supervisor starts, reloads and stops with a garbled one."""
        data = (self._state / FILE).read_bytes()
        (self._state / FILE).write_text(json.dumps(self._sound))
        if len(History(str(self._state), WINDOW, _nothing, _now).status()["failures"]) != 5:  # type: ignore[arg-type]
            raise Broken("a sound history is not read")
        self._looks += 1
        own = self._folder / str(self._looks)
        own.mkdir()
        (own / "state" / "fuzz").mkdir(parents=True)
        (own / "state" / "fuzz" / FILE).write_bytes(data)
        program = Program(own)
        with Service(program.command, folder=own, listen=program.listen, name="fuzz") as service:
            try:
                service.wait_ready()
                varlink.call(service.control, "History")
                varlink.call(service.control, "Reload")
                served = program.ask()
            except (AssertionError, OSError, varlink.VarlinkError) as error:
                raise Broken(f"{error!r}, with the history {data[:500]!r}") from error
            if served != "1" or "internal error" in service.stderr:
                raise Broken(f"{service.stderr[-500:]}, with the history {data[:500]!r}")


def _use(history: History, write: bool) -> None:
    """Everything that is done with what was read."""
    json.dumps(history.status(), allow_nan=False)
    json.dumps(history.ledger.status(), allow_nan=False)
    history.full()
    history.describe()
    if write:
        history.failed(3, "again")
    json.dumps(plain(history.carried()), allow_nan=False)


def _nothing(_message: str) -> None:
    """Nobody is told."""


def _now() -> float:
    return NOW + 10.0


@contextlib.contextmanager
def _target(chance: random.Random, folder: Path) -> Iterator[Parsers]:
    files = _Files(chance, folder)
    yield Parsers(files.one, files.good)


FUZZER = Fuzzer("state-files", _target, batch=10_000, few=2500)
