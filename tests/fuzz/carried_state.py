"""The state that an upgrade in place hands over, and the variable that names its descriptor.

Most states are read in this process. Now and then `sockact run` is executed with one: as a check,
and as if an upgrade had executed it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from sockact.core.settings import Settings, UnknownSetting
from sockact.kernel import memfd
from sockact.supervisor.records import carried_state
from sockact.supervisor.upgrade import CHECK, PROOF, VARIABLE
from tests import ROOT
from tests.fuzz import mutation
from tests.fuzz.harness import Broken, Fuzzer, Parsers
from tests.support import wait
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

STATE = ROOT / "tests/unit/supervisor/state-1.json"
# The state gets the pid of the process that takes over: only this is checked first.
RESUME = """
import json, os, sys
state = sys.stdin.buffer.read().replace(b'"pid": 1111111,', b'"pid": %d,' % os.getpid())
fd = os.memfd_create("sockact-state", os.MFD_ALLOW_SEALING)
os.write(fd, state)
import fcntl
fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
os.set_inheritable(fd, True)
os.environ[sys.argv[1]] = str(fd)
os.execv(sys.argv[2], sys.argv[2:])
"""
VALUES = ("", "-1", "9" * 5000, "0", "1", "2", "check ", "99", "2147483647", "2147483648", "\udcff")


class _States:
    def __init__(self, chance: random.Random, folder: Path) -> None:
        self._chance = chance
        self._folder = folder
        self._sound = json.loads(STATE.read_text())
        # What a state inside of a string says is garbled, too.
        self._settings = json.loads(self._sound["state"]["settings"])
        self._last = b""

    def one(self) -> None:
        """Only a ValueError, or a TypeError of the settings, may come of it."""
        found = mutation.changed(self._chance, self._sound)
        with contextlib.suppress(KeyError, TypeError):
            if not self._chance.randrange(4):
                settings = mutation.changed(self._chance, self._settings)
                found["state"]["settings"] = json.dumps(settings)
        data = self._last = mutation.text(self._chance, found)
        try:
            try:
                carried = carried_state.read(data)
            except ValueError:
                return
            with contextlib.suppress(UnknownSetting, TypeError, ValueError):
                Settings.from_older(carried.settings)
        except Exception as error:
            raise Broken(f"{type(error).__name__}: {error}, of {data[:500]!r}") from error

    def good(self) -> None:
        """A sound state passes the check; garbled ones, and garbled variables, are one line."""
        done = self._check(json.dumps(self._sound).encode())
        if done.returncode or not done.stdout.startswith(PROOF):
            raise Broken(f"the sound state is refused: {done}")
        for done in (self._check(self._last), self._variable(), self._resume()):
            if done.returncode not in (0, 1, 2) or done.stderr.count("\n") > 1:
                raise Broken(f"{done}, of {self._last[:500]!r}")

    def _check(self, data: bytes) -> subprocess.CompletedProcess[str]:
        fd = memfd.sealed("sockact-state", data)
        try:
            return self._run([*SOCKACT, "run", "--", "true"], CHECK, fd)
        finally:
            os.close(fd)

    def _variable(self) -> subprocess.CompletedProcess[str]:
        return self._run([*SOCKACT, "run", "--", "true"], self._chance.choice(VALUES))

    def _resume(self) -> subprocess.CompletedProcess[str]:
        """The state with its own pid, and descriptors that are not there."""
        found = mutation.changed(self._chance, self._sound)
        if isinstance(found, dict) and isinstance(found.get("state"), dict):
            found["state"]["pid"] = 1111111
        path = self._folder / "state"
        path.write_text(json.dumps(found))
        with path.open("rb") as file:
            words = [sys.executable, "-c", RESUME, VARIABLE, *SOCKACT, "run", "--", "true"]
            return self._run(words, "", file.fileno())

    def _run(
        self, words: list[str], value: str, stdin: int = subprocess.DEVNULL
    ) -> subprocess.CompletedProcess[str]:
        runtime = str(self._folder / "run")
        environment = {"PATH": os.environ["PATH"], VARIABLE: value, "SOCKACT_RUNTIME_DIR": runtime}
        try:
            return subprocess.run(
                words,
                stdin=stdin,
                env=environment,
                capture_output=True,
                text=True,
                timeout=2 * wait.TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Broken(f"{error}, of {self._last[:500]!r}") from error


@contextlib.contextmanager
def _target(chance: random.Random, folder: Path) -> Iterator[Parsers]:
    states = _States(chance, folder)
    yield Parsers(states.one, states.good)


FUZZER = Fuzzer("carried-state", _target, batch=5000, few=2500)
