"""A running systemd, asked and told by way of systemctl(1) and journalctl(1).

Raises OperatorError, whose text is one line that says what to do.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time

from sockact.core.errors import OperatorError

_SECONDS = 90.0
# Bytes. What systemctl says of ten thousand units fits; a service may write more than this to the
# journal, and even a single line of it may be longer.
_LARGEST = 16 << 20
_NEWEST = 1 << 18
_READ = 1 << 16
_LONGEST_REASON = 2000


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
        command = f"{self.name} {' '.join(arguments)}"
        said, length = self._run(command, [*self._base, *arguments], _LARGEST)
        if length > _LARGEST:
            raise OperatorError(
                f"`{command}` printed {length >> 20} MiB, more than the {_LARGEST >> 20} MiB that "
                f"sockact reads; run it to see which property or unit is so long"
            )
        return said

    def journal(self, unit: str, since: float, lines: int) -> str:
        """The last `lines` that the processes of a service wrote, of those since a time in seconds
        since 1970; of very long ones, the end.
        """
        field = "_SYSTEMD_USER_UNIT" if self.user else "_SYSTEMD_UNIT"
        options = (f"--lines={lines}", "--output=cat", "--no-pager", "--quiet")
        words = ["journalctl", f"{field}={unit}", f"--since=@{int(since)}", *options]
        return self._run(f"journalctl {words[1]}", words, _NEWEST)[0]

    def _run(self, command: str, words: list[str], most: int) -> tuple[str, int]:
        """The last `most` bytes of a command's output, and how many bytes it had."""
        try:
            status, (said, length), (problem, _) = _outputs(words, self._timeout, most)
        except FileNotFoundError as error:
            raise OperatorError(f"{command}: command not found; is systemd installed?") from error
        except OSError as error:
            raise OperatorError(f"{command}: cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"{command}: no answer within {self._timeout:g} s") from error
        if status != 0:
            why = " ".join(problem.split())[-_LONGEST_REASON:] or f"exit status {status}"
            raise OperatorError(f"`{command}` failed: {why}")
        return said, length

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


def _outputs(
    words: list[str], seconds: float, most: int
) -> tuple[int, tuple[str, int], tuple[str, int]]:
    """Run a command: its exit status, and of its output and its errors the last `most` bytes, and
    how many there were. Raises TimeoutExpired and OSError.
    """
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        try:
            deadline = time.monotonic() + seconds
            assert child.stdout
            assert child.stderr
            out, errors = _ends((child.stdout.fileno(), child.stderr.fileno()), deadline, most)
            status = child.wait(max(0.0, deadline - time.monotonic()))
        except BaseException:
            child.kill()
            raise
    return status, out, errors


def _ends(fds: tuple[int, int], deadline: float, most: int) -> list[tuple[str, int]]:
    """The last `most` bytes of each of the pipes, and how many bytes came."""
    parts = {fd: bytearray() for fd in fds}
    lengths = dict.fromkeys(fds, 0)
    with selectors.DefaultSelector() as waiting:
        for fd in fds:
            waiting.register(fd, selectors.EVENT_READ)
        while waiting.get_map():
            left = deadline - time.monotonic()
            ready = waiting.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired("", 0.0)
            for key, _ in ready:
                data = os.read(key.fd, _READ)
                if not data:
                    waiting.unregister(key.fd)
                parts[key.fd] += data
                lengths[key.fd] += len(data)
                del parts[key.fd][:-most]
    return [(parts[fd].decode(errors="replace"), lengths[fd]) for fd in fds]
