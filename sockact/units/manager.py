"""A running systemd, asked and told by way of systemctl(1) and journalctl(1).

Raises OperatorError, whose text is one line that says what to do.
"""

from __future__ import annotations

import os
import re
import subprocess

from sockact.core.errors import OperatorError

_SECONDS = 90.0


class Manager:
    """The system manager, or with `user` the calling user's own. `timeout` is in seconds."""

    def __init__(self, user: bool = False, timeout: float = _SECONDS) -> None:
        self.user = user
        self._timeout = timeout
        self.name = "systemctl --user" if user else "systemctl"
        self._base = ("systemctl", *(["--user"] if user else []), "--no-pager")

    @property
    def runtime(self) -> str:
        """The directory that %t stands for in its units."""
        if not self.user:
            return "/run"
        return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"

    def call(self, *arguments: str) -> str:
        """Run systemctl with these arguments; return its output."""
        return self._run(f"{self.name} {' '.join(arguments)}", [*self._base, *arguments])

    def journal(self, unit: str, since: float) -> str:
        """What the processes of a service wrote; `since` is in seconds since 1970."""
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
            raise OperatorError(f"{command}: command not found; is systemd installed?") from error
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"{command}: no answer within {self._timeout:g} s") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise OperatorError(f"`{command}` failed: {said}")
        return done.stdout

    def show(self, unit: str) -> str:
        """All properties of a unit, even of one that does not exist, as lines NAME=VALUE."""
        # Times as seconds since 1970: @1700000000.
        return self.call("show", "--timestamp=unix", "--", unit)

    def cat(self, unit: str) -> str:
        """The text of the unit's file and its drop-ins, in the order in which they apply."""
        return self.call("cat", "--", unit)

    def version(self) -> int:
        """The major version of systemd, such as 252."""
        found = re.match(r"systemd (\d+)", self.call("--version"))
        if not found:
            raise OperatorError(f"cannot parse the output of `{self.name} --version`")
        return int(found[1])
