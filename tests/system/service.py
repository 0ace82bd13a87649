"""A service of the booted systemd, and clients for it from outside."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.load import Plan
from bench.process import LoadProcess
from tests.support import wait
from tests.system import units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load import Load
    from tests.servers.releases import Releases
    from tests.support.machine import Machine

# A load ends with its test; this ends only the loads of a test that was killed.
LONGEST = 120.0
URL = f"http://{units.ADDRESS}"
# Seconds between two polling commands in the machine, because each is expensive.
INTERVAL = 0.05
# What `systemctl` may take, for what has to end by itself: a drain, a start.
PATIENCE = 60.0


@dataclass(frozen=True)
class Service:
    """NAME.service and NAME.socket, with the releases on the machine's disk."""

    machine: Machine
    name: str
    releases: Releases
    user: str = ""  # the user whose manager runs it; empty: the system's

    @property
    def unit(self) -> str:
        """The .service unit."""
        return f"{self.name}.service"

    @property
    def socket(self) -> str:
        """The .socket unit."""
        return f"{self.name}.socket"

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as the service's administrator; with `check` it has to succeed."""
        user = self.user
        session = {"XDG_RUNTIME_DIR": f"/run/user/{self.machine.uid(user)}"} if user else {}
        done = self.machine.run(*command, user=user, environment=session, timeout=PATIENCE)
        assert not check or done.returncode == 0, f"{done}\n{self.journal()}"
        return done

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`systemctl WORDS` to its manager; with `check` it has to succeed."""
        manager = ("--user",) if self.user else ()
        return self.run("systemctl", *manager, *words, check=check)

    def show(self, name: str, unit: str = "") -> str:
        """A property of a unit, of the .service unit by default."""
        words = ("show", "--value", f"--property={name}", unit or self.unit)
        return self.systemctl(*words).stdout.strip()

    @property
    def main_pid(self) -> int:
        """The pid of the supervisor in the machine."""
        return int(self.show("MainPID"))

    def active(self) -> dict[str, str]:
        """The ActiveState of both units."""
        both = (self.unit, self.socket)
        return {unit: self.show("ActiveState", unit) for unit in both}

    def wait_active(self) -> None:
        """Return when both units are active; the first answers come a moment before READY=1."""

        def both() -> bool:
            return set(self.active().values()) == {"active"}

        what = f"{self.unit} and {self.socket} to be active"
        wait.until(both, what, timeout=30, interval=INTERVAL)

    def kill(self, pid: int) -> None:
        """Send SIGKILL to a process, by its pid in the machine."""
        self.machine.run("sh", "-c", f"kill -KILL {pid}", check=True)

    def journal(self) -> str:
        """Its journal (`journalctl -u`)."""
        return self.machine.journal(self.unit, "--user-unit" if self.user else "--unit")

    def wait_journal(self, text: str) -> None:
        """Wait until the text is in the journal."""
        wait.until(lambda: text in self.journal(), f"{text!r} in the journal", 30, 0.1)

    def status(self) -> dict[str, Any]:
        """`sockact status --json`; raises AssertionError when it does not run."""
        found: dict[str, Any] = json.loads(
            self.run("sockact", "status", self.name, "--json").stdout
        )
        return found

    def wait_status_text(self, pattern: str) -> str:
        """The Status: line of `systemctl status`, as soon as the pattern is found in it."""

        def found() -> str | None:
            text = self.show("StatusText")
            return text if re.search(pattern, text) else None

        what = f"{pattern!r} in {self.unit}'s StatusText"
        return wait.until(found, what, interval=INTERVAL)

    def wait_busy(self) -> None:
        """Wait until a request is being served."""

        def busy() -> bool:
            counts = [one["connections"] for one in self.status()["generations"]]
            return any(count and count["busy"] for count in counts)

        wait.until(busy, "a request to be under way", interval=INTERVAL)

    def ask(self, path: str = "/fast", timeout: float = 20.0) -> str:
        """The response body for a client in the machine. Raises AssertionError."""
        limit = f"{timeout:g}"
        return self.machine.run("curl", "-sSf", "-m", limit, URL + path, check=True).stdout

    @contextlib.contextmanager
    def asking(self, path: str = "/fast") -> Iterator[subprocess.Popen[str]]:
        """A client whose request is under way, or waits to be accepted."""
        enter = self.machine.enter("--all", "--root")
        with subprocess.Popen(
            [*enter, "curl", "-sSf", "-m", f"{PATIENCE:g}", URL + path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as client:
            try:
                yield client
            finally:
                client.kill()

    @contextlib.contextmanager
    def load(self, *loads: Load) -> Iterator[LoadProcess]:
        """Clients with the tests' own Python, in the machine's network; all have got going."""
        plan = Plan(units.ADDRESS, loads, LONGEST)
        with LoadProcess(plan, self.machine.enter("--net")) as load:
            load.wait_started()
            yield load


def answer(client: subprocess.Popen[str]) -> str:
    """The response body of a client of `asking`. Raises AssertionError if it failed."""
    stdout, stderr = client.communicate(timeout=PATIENCE)
    assert client.returncode == 0, stderr
    return stdout
