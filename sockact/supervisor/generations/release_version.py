"""Finds out the version of the release that a generation runs: docs/releases.md.

Files are read at once; only regular files, and only their first bytes. A command runs in the
background. A version that cannot be found out is no failure of the generation.
"""

from __future__ import annotations

import errno
import os
from functools import partial

from sockact.core.release import LONGEST_VERSION, tidy
from sockact.kernel.looks import apart_for
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.processes.environment import probe_environment
from sockact.trust import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.core.settings import Settings
    from sockact.supervisor.generations.context import Context

WITHIN = 5.0
"""Seconds that a command may take."""
_LARGEST = 1 << 20
"""Bytes of packed-refs that are read."""
_LINE = 4096
_LONGEST = 400
_DEEPEST = 64
_SHORT = 12
_HEXADECIMAL = frozenset("0123456789abcdef")
_HASHES = (40, 64)
"""Digits of a commit: SHA-1, SHA-256."""
# Changes the directory, which posix_spawn(3) cannot do. The shell does not interpret the words.
_IN_DIRECTORY = ("/bin/sh", "-c", 'cd -- "$0" && exec "$@"')


class Unknown(Exception):
    """The version cannot be found out, for this reason."""


class ReleaseVersion:
    """The version of one generation's release."""

    def __init__(self, context: Context, number: int, text: str = "") -> None:
        """`text` is the version if it is known already."""
        self.text = text
        self._context = context
        self._number = number
        self._attempt: CommandRun | None = None

    @property
    def under_way(self) -> bool:
        """Whether a command that prints it is running."""
        return self._attempt is not None

    def find(
        self, settings: Settings, program: str, directory: str, own: Mapping[str, str]
    ) -> None:
        """Find out the version that is deployed now. `own` are the program's own variables."""
        kind, _, rest = settings.release_version.partition(":")
        try:
            if kind == "exec":
                environment = self._context.environment | dict(own)
                self._ask(rest, directory, probe_environment(environment, settings.name))
            else:
                text, reason = _looked_up(kind, rest, directory, program, settings.release)
                self._give_up(Unknown(reason)) if reason else self._take(text)
        except OSError as error:
            self._give_up(Unknown(str(error.strerror)))

    def close(self) -> None:
        """Stop the command: the version is no longer needed."""
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
            # HookRunner wait until the version is known.
            self._context.version_known(self._number)

    def _ask(self, words: str, directory: str, environment: Mapping[str, str]) -> None:
        # The shell parses the command line, as for --ready exec:.
        script = ("/bin/sh", "-c", words)
        command = Command((*_IN_DIRECTORY, directory, *script), reports=True, longest=_LINE)
        self._attempt = CommandRun(
            self._context.loop, command, environment, WITHIN, partial(self._answered, words)
        )

    def _answered(self, words: str, reason: str) -> None:
        attempt, self._attempt = self._attempt, None
        assert attempt is not None
        if reason:
            self._give_up(Unknown(f"{words}: {reason}"))
        else:
            self._take(attempt.first_line())
        self._context.version_known(self._number)

    def _take(self, text: str) -> None:
        self.text = tidy(text)
        if self.text != text.strip():
            self._context.version_unknown(
                self._number,
                f"the version is not at most {LONGEST_VERSION} printable characters; "
                f"using {self.text!r}",
            )

    def _give_up(self, error: Exception) -> None:
        self._context.version_unknown(self._number, f"its version is unknown: {error}"[:_LONGEST])


@apart_for("release files")
def _looked_up(kind: str, rest: str, directory: str, program: str, release: str) -> tuple[str, str]:
    """Return (version, ""), or ("", why it cannot be found out)."""
    try:
        return _found(kind, rest, directory, program, release), ""
    except Unknown as error:
        return "", str(error)
    except OSError as error:
        return "", f"{error.filename}: {error.strerror}"


def _found(kind: str, rest: str, directory: str, program: str, release: str) -> str:
    """Return the version by the method `kind`. Raises Unknown, OSError."""
    if kind == "file":
        return _first_line(os.path.join(directory, rest))
    if kind == "git":
        where = os.path.join(directory, rest)
        found = of_checkout(where)
        if not found:
            raise Unknown(f"{where} is not in a git checkout")
        return found
    target = os.path.realpath(release) if release else ""
    if kind == "path":
        return os.path.basename(target or os.path.realpath(directory))
    if kind == "auto":
        return _guessed(target, directory, program)
    return ""


def _guessed(target: str, directory: str, program: str) -> str:
    """Guess the version from a symbolic link or a git checkout; "" if there is none."""
    if target:
        return os.path.basename(target)
    path = behind_link(directory)
    if not path and os.path.isabs(program):
        path = behind_link(os.path.dirname(program))
    try:
        return os.path.basename(path) or of_checkout(directory)
    except (Unknown, OSError):
        return ""  # Not configured, so nothing to report.


def behind_link(path: str) -> str:
    """Return the target of the last symbolic link in an absolute path, "" if there is none.

    Links directly below / (/bin) belong to the system and do not count.
    """
    path = os.path.normpath(path)
    while (parent := os.path.dirname(path)) != path:
        if parent != "/" and os.path.islink(path):
            return os.path.realpath(path)
        path = parent
    return ""


def of_checkout(directory: str) -> str:
    """Return the short commit that is checked out there, "" if that is not a checkout.

    Reads files only (gitrepository-layout(5)), because git would execute commands from the
    configuration of the checkout. Raises Unknown, OSError.
    """
    path = os.path.realpath(directory)
    for _ in range(_DEEPEST):
        there = os.path.join(path, ".git")
        if os.path.lexists(there):
            return _commit(*_git_directory(there))[:_SHORT]
        if path == os.path.dirname(path):
            break
        path = os.path.dirname(path)
    return ""


def _git_directory(path: str) -> tuple[str, bool]:
    """Return the git directory, and whether `path` is a file that names it, as in a worktree or a
    submodule.
    """
    if os.path.isdir(path):
        return path, False
    word, _, where = _first_line(path).partition(": ")
    if word != "gitdir" or not where:
        raise Unknown(f"{path} is not a git directory")
    return os.path.join(os.path.dirname(path), where), True


def _commit(git: str, told: bool) -> str:
    """Return the commit. `told`: a file, which anybody may have written, names the directory."""
    line = _first_line(os.path.join(git, "HEAD"), told)
    if _is_commit(line):
        return line
    ref = line.removeprefix("ref: ")
    if not _is_ref(ref):
        raise Unknown(f"{git}/HEAD does not name a commit")
    common = _common(git, told)
    for directory in (git, common):
        try:
            found = _first_line(os.path.join(directory, ref), told or directory is common)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if _is_commit(found):
            return found
    return _packed(os.path.join(common, "packed-refs"), ref, told or common != git)


def _is_commit(text: str) -> bool:
    return len(text) in _HASHES and _HEXADECIMAL.issuperset(text)


def _is_ref(text: str) -> bool:
    named = text.startswith("refs/") and len(text) > len("refs/")
    plain = text.isascii() and text.isprintable() and " " not in text and ".." not in text
    return named and plain


def _common(git: str, told: bool) -> str:
    """Return the directory of the refs that all worktrees share."""
    try:
        return os.path.join(git, _first_line(os.path.join(git, "commondir"), told))
    except FileNotFoundError:
        return git


def _packed(path: str, ref: str, told: bool) -> str:
    try:
        lines = _head(path, _LARGEST, told).splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        commit, _, name = line.partition(" ")
        if name == ref and _is_commit(commit):
            return commit
    raise Unknown(f"{ref} has no commit")


def _first_line(path: str, told: bool = False) -> str:
    return _head(path, _LINE, told).partition("\n")[0].strip()


def _head(path: str, size: int, told: bool) -> str:
    """Return the first bytes of a file. Raises Unknown, OSError."""
    try:
        return files.read(path, size, told=told).decode(errors="replace")
    except OSError as error:
        # A path with a NUL, from a broken .git, too.
        if error.errno == errno.EINVAL:
            raise Unknown(f"{path!r} is {error.strerror}") from error
        raise
