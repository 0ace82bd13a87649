"""Asking a running systemd, and telling it what changed: systemctl(1).

For the command line only. Raises OperatorError, whose text is one line that says what to do.
"""

from __future__ import annotations

import os
import re
import subprocess

from sockact.core.errors import OperatorError

_SECONDS = 90.0


class Manager:
    """The system's, or with `user` that of the user who asks."""

    def __init__(self, user: bool = False, timeout: float = _SECONDS) -> None:
        self.user = user
        self._timeout = timeout
        self.name = "systemctl --user" if user else "systemctl"
        self._base = ("systemctl", *(["--user"] if user else []), "--no-pager")

    @property
    def runtime(self) -> str:
        """The folder %t of its units."""
        if not self.user:
            return "/run"
        return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"

    def call(self, *arguments: str) -> str:
        """Run it with these arguments; what it prints."""
        return self._run(f"{self.name} {' '.join(arguments)}", [*self._base, *arguments])

    def journal(self, unit: str, since: float) -> str:
        """What a service's own processes wrote; `since` is in seconds since 1970."""
        field = "_SYSTEMD_USER_UNIT" if self.user else "_SYSTEMD_UNIT"
        options = ("--output=cat", "--no-pager", "--quiet")
        words = ["journalctl", f"{field}={unit}", f"--since=@{int(since)}", *options]
        return self._run(f"journalctl {words[1]}", words)

    def _run(self, command: str, words: list[str]) -> str:
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout,
                check=False,
            )
        except FileNotFoundError as error:
            raise OperatorError(f"{command}: not found: systemd has to be installed") from error
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"{command}: no answer within {self._timeout:g} s") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise OperatorError(f"`{command}` failed: {said}")
        return done.stdout

    def show(self, unit: str) -> str:
        """All properties of a unit, one NAME=VALUE a line; of one that does not exist, too."""
        # Times as seconds since 1970: @1700000000.
        return self.call("show", "--timestamp=unix", unit)

    def cat(self, unit: str) -> str:
        """The unit's files with its drop-ins, in the order in which they count."""
        return self.call("cat", unit)

    def version(self) -> int:
        """The major version of systemd, such as 252."""
        found = re.match(r"systemd (\d+)", self.call("--version"))
        if not found:
            raise OperatorError(f"{self.name} --version: cannot read its version")
        return int(found[1])
