"""The version of the release that a generation is of: docs/releases.md.

Files are read at once, and only regular ones, as far as they may be long. A command runs in the
background. What cannot be found out fails nothing.
"""

from __future__ import annotations

import os
import re
import stat
from functools import partial

from sockact.core.release import LONGEST_VERSION, tidy
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.processes.environment import probe_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.core.lifecycle.model import Exit
    from sockact.core.settings import Settings
    from sockact.supervisor.generations.context import Context

WITHIN = 5.0
"""Seconds for a command."""
_LARGEST = 1 << 20
"""Bytes of packed-refs that are looked through."""
_LINE = 4096
_LONGEST = 400
_DEEPEST = 64
_SHORT = 12
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"refs/[!-~]+")
# Enters the directory, which posix_spawn(3) cannot; the words are not read by the shell.
_IN_DIRECTORY = ("/bin/sh", "-c", 'cd -- "$0" && exec "$@"')


class Unknown(Exception):
    """It cannot be found out, and why."""


class ReleaseVersion:
    """Of one generation."""

    def __init__(self, context: Context, number: int, text: str = "") -> None:
        """`text` is the version where it is known already."""
        self.text = text
        self._context = context
        self._number = number
        self._attempt: CommandRun | None = None

    @property
    def under_way(self) -> bool:
        """Is it still to be told by a command?"""
        return self._attempt is not None

    def find(
        self, settings: Settings, program: str, directory: str, own: Mapping[str, str]
    ) -> None:
        """Of what is deployed at this moment. `own` are the program's own variables."""
        kind, _, rest = settings.release_version.partition(":")
        try:
            if kind == "exec":
                environment = self._context.environment | dict(own)
                self._ask(rest, directory, probe_environment(environment, settings.name))
            else:
                self._take(_found(kind, rest, directory, program, settings.release))
        except Unknown as error:
            self._give_up(error)
        except OSError as error:
            self._give_up(Unknown(f"{error.filename}: {error.strerror}"))

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the command."""
        if self._attempt is not None:
            self._attempt.reaped(pid, exit)

    def close(self) -> None:
        """Nobody wants to know any more."""
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
            # Hooks of its end wait for it.
            self._context.version_known(self._number)

    def _ask(self, words: str, directory: str, environment: Mapping[str, str]) -> None:
        # The command line is taken apart by the shell, as that of --ready exec: is.
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
                f"the version is not up to {LONGEST_VERSION} printable characters: "
                f"it is taken for {self.text!r}",
            )

    def _give_up(self, error: Exception) -> None:
        self._context.version_unknown(self._number, f"its version is not known: {error}"[:_LONGEST])


def _found(kind: str, rest: str, directory: str, program: str, release: str) -> str:
    """Raises Unknown, OSError."""
    if kind == "file":
        return _first_line(os.path.join(directory, rest))
    if kind == "git":
        where = os.path.join(directory, rest)
        found = of_checkout(where)
        if not found:
            raise Unknown(f"{where} is in no git checkout")
        return found
    target = os.path.realpath(release) if release else ""
    if kind == "path":
        return os.path.basename(target or os.path.realpath(directory))
    if kind == "auto":
        return _guessed(target, directory, program)
    return ""


def _guessed(target: str, directory: str, program: str) -> str:
    """ "" where nothing tells."""
    if target:
        return os.path.basename(target)
    path = behind_link(directory)
    if not path and os.path.isabs(program):
        path = behind_link(os.path.dirname(program))
    try:
        return os.path.basename(path) or of_checkout(directory)
    except (Unknown, OSError):
        return ""  # Nobody has asked for it.


def behind_link(path: str) -> str:
    """Where the last symbolic link in an absolute path leads to, "" when there is none. One that is
    right below / (/bin) is the system's.
    """
    path = os.path.normpath(path)
    while (parent := os.path.dirname(path)) != path:
        if parent != "/" and os.path.islink(path):
            return os.path.realpath(path)
        path = parent
    return ""


def of_checkout(directory: str) -> str:
    """The short commit that is checked out there, "" when it is in no checkout.

    Only files are read (gitrepository-layout(5)): git itself executes what the configuration of a
    checkout says. Raises Unknown, OSError.
    """
    path = os.path.realpath(directory)
    for _ in range(_DEEPEST):
        there = os.path.join(path, ".git")
        if os.path.lexists(there):
            return _commit(_git_directory(there))[:_SHORT]
        if path == os.path.dirname(path):
            break
        path = os.path.dirname(path)
    return ""


def _git_directory(path: str) -> str:
    """A worktree, or a submodule, has a file that says where it is."""
    if os.path.isdir(path):
        return path
    word, _, where = _first_line(path).partition(": ")
    if word != "gitdir" or not where:
        raise Unknown(f"{path} is no git directory")
    return os.path.join(os.path.dirname(path), where)


def _commit(git: str) -> str:
    line = _first_line(os.path.join(git, "HEAD"))
    if _COMMIT.fullmatch(line):
        return line
    ref = line.removeprefix("ref: ")
    if not _REF.fullmatch(ref) or ".." in ref:
        raise Unknown(f"{git}/HEAD names no commit")
    for folder in (git, common := _common(git)):
        try:
            found = _first_line(os.path.join(folder, ref))
        except (FileNotFoundError, NotADirectoryError):
            continue
        if _COMMIT.fullmatch(found):
            return found
    return _packed(os.path.join(common, "packed-refs"), ref)


def _common(git: str) -> str:
    """Where the refs are that all worktrees share."""
    try:
        return os.path.join(git, _first_line(os.path.join(git, "commondir")))
    except FileNotFoundError:
        return git


def _packed(path: str, ref: str) -> str:
    try:
        lines = _head(path, _LARGEST).splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines:
        commit, _, name = line.partition(" ")
        if name == ref and _COMMIT.fullmatch(commit):
            return commit
    raise Unknown(f"{ref} has no commit")


def _first_line(path: str) -> str:
    return _head(path, _LINE).partition("\n")[0].strip()


def _head(path: str, size: int) -> str:
    """The begin of a file. Raises Unknown, OSError."""
    # A FIFO would keep the supervisor waiting.
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:
        raise Unknown(f"{path!r} is no path") from error  # One with a NUL, from a broken .git.
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unknown(f"{path} is no file")
        return os.read(fd, size).decode(errors="replace")
    finally:
        os.close(fd)
