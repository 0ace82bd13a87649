"""A service under test: a program wrapped by `sockact run`, in a runtime folder of its own.

Everything goes through the command line, as users do it; only `status` reads the control socket
itself, because a test asks often.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests import ROOT
from tests.support import leaks, varlink, wait
from tests.support.notify import NotifySocket

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SOCKACT = (sys.executable, str(ROOT / "sockact" / "__main__.py"))


@dataclass(frozen=True)
class Outcome:
    """The result of a sockact command; times are of CLOCK_MONOTONIC."""

    code: int
    stdout: str
    stderr: str
    started: float
    ended: float

    @property
    def seconds(self) -> float:
        """Its duration in seconds."""
        return self.ended - self.started

    def json(self) -> dict[str, Any]:
        """Its --json output."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


class Service:
    """`sockact run` as a child process. Use it as a context manager, or `close` it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        listen: Sequence[str] = (),
        options: Sequence[str] = (),
        name: str = "test",
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        launcher: Sequence[str] = (),
    ) -> None:
        """Start it. `environment` is the whole environment, os.environ when it is None, and
        `launcher` a command that executes the supervisor in some way. $SOCKACT_LANES is the value
        of --lanes, unless `options` have one.

        `folder` is for the runtime folder, the notify socket and standard error, and must be short,
        because socket paths are.
        """
        self.name = name
        self.folder = folder
        self.runtime = folder / "run"
        self.notify = NotifySocket(folder / "notify")
        self._stderr = folder / "stderr"
        self.environment = dict(os.environ if environment is None else environment)
        self.environment["SOCKACT_RUNTIME_DIR"] = str(self.runtime)
        self.environment.setdefault("SOCKACT_STATE_DIR", str(folder / "state"))
        arguments = ["run", "--name", name]
        if (lanes := os.environ.get("SOCKACT_LANES")) and "--lanes" not in options:
            arguments += ["--lanes", lanes]
        for address in listen:
            arguments += ["--listen", address]
        with self._stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*launcher, *SOCKACT, *arguments, *options, "--", *command],
                env={"FDSTORE": "64", **self.environment, "NOTIFY_SOCKET": str(self.notify.path)},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=folder,
                pass_fds=pass_fds,
            )

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def stderr(self) -> str:
        """The output of the supervisor and the program so far."""
        return self._stderr.read_text(errors="replace")

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.runtime / self.name / "control"

    def wait_busy(self, requests: int = 1) -> None:
        """Return when the program is serving so many requests."""

        def busy() -> bool:
            counts: list[int] = [one["connections"]["busy"] for one in self.status()["generations"]]
            return sum(counts) == requests

        wait.until(busy, "the requests to arrive")

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return at READY=1; raises AssertionError with its output when it ends before."""
        deadline = time.monotonic() + timeout
        pidfd = os.pidfd_open(self.process.pid)
        try:
            while (left := deadline - time.monotonic()) > 0:
                ready = wait.readable(self.notify.fileno(), pidfd, timeout=left)
                if self.notify.fileno() in ready:
                    message = self.notify.receive(0)
                    if message is not None and message.get("READY") == "1":
                        return
                elif pidfd in ready:
                    raise AssertionError(f"ended with {self.process.wait()}:\n{self.stderr}")
        finally:
            os.close(pidfd)
        raise AssertionError(f"not ready within {timeout:g} s:\n{self.stderr}")

    def run(self, *arguments: str, timeout: float = 120.0) -> Outcome:
        """Run another command of sockact on this service."""
        started = time.monotonic()
        done = subprocess.run(
            [*SOCKACT, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr, started, time.monotonic())

    def reload(self, *options: str, timeout: float = 120.0) -> Outcome:
        """`sockact reload NAME`."""
        return self.run("reload", self.name, *options, timeout=timeout)

    def status(self) -> dict[str, Any]:
        """The Status of docs/control.md."""
        found: dict[str, Any] = varlink.call(self.control, "Status")["status"]
        return found

    def states(self) -> dict[int, str]:
        """The state of each generation in the status."""
        return {one["number"]: one["state"] for one in self.status()["generations"]}

    def wait_drained(self, timeout: float = 60.0) -> None:
        """Return when only the running generation is left."""

        def alone() -> bool:
            states = list(self.states().values())
            return [state for state in states if state not in ("drained", "failed")] == ["running"]

        wait.until(alone, "the predecessors to be drained", timeout)

    def stop(self, *options: str) -> int:
        """`sockact stop NAME`; gives the exit code of the supervisor."""
        outcome = self.run("stop", self.name, *options)
        assert outcome.code == 0, outcome
        return self.process.wait(30.0)

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        self.process.send_signal(number)

    def remove_sockets(self) -> None:
        """Remove the socket files that it has left, because it was killed."""
        for path in leaks.socket_files(self.runtime):
            path.unlink()

    def close(self) -> None:
        """End what is left of it; raises AssertionError when it leaves a socket file behind."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30.0)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.notify.close()
            raise AssertionError(f"SIGTERM did not stop it within 30 s:\n{self.stderr}")
        self.notify.close()
        if left := leaks.socket_files(self.runtime):
            raise AssertionError(f"socket files left behind: {left}")
