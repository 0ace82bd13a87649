"""The kept versions of a configuration file, which `sockact config` shows and restores."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sockact.cli.configuration import document
from sockact.cli.terminal.failures import Failure
from sockact.core.history import snapshots
from sockact.supervisor.records.state_dir import state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Kept:
    """A kept version."""

    number: int
    path: str

    def text(self) -> str:
        """The contents. Raises Failure."""
        return text_of(self.path)


def folder(name: str) -> str:
    """The directory of the kept versions of a service; it need not exist."""
    return os.path.join(state_dir(name, os.environ), snapshots.DIRECTORY)


def all_of(name: str) -> list[Kept]:
    """The kept versions of a service, oldest first. Raises Failure."""
    base = folder(name)
    try:
        there = snapshots.numbered(os.listdir(base))
    except FileNotFoundError:
        there = {}
    except OSError as error:
        raise Failure(f"cannot read {base}: {error.strerror}; use sudo") from error
    return [Kept(number, os.path.join(base, file)) for number, file in there.items()]


def numbered(name: str, number: int) -> Kept:
    """The kept version of this number. Raises UsageError."""
    there = all_of(name)
    for one in there:
        if one.number == number:
            return one
    which = f"kept: {there[0].number} to {there[-1].number}" if there else "none has served yet"
    raise click.UsageError(f"{name}: no configuration {number} ({which})")


def text_of(path: str) -> str:
    """The contents of a file, with invalid UTF-8 replaced. Raises Failure."""
    return _contents(path).decode("utf-8", errors="replace")


def _contents(path: str) -> bytes:
    try:
        return document.contents(path)
    except document.Unreadable as error:
        raise Failure(f"cannot read {path}: {error}") from error


@contextlib.contextmanager
def put_back(path: str, text: str) -> Iterator[None]:
    """Replace the contents of the file atomically; undone if the body of the `with` fails."""
    target = os.path.realpath(path)
    before = _contents(target) if os.path.lexists(target) else None
    _replace(target, text.encode())
    try:
        yield
    except BaseException:
        if before is None:
            os.unlink(target)
        else:
            _replace(target, before)
        raise


def _replace(target: str, contents: bytes) -> None:
    try:
        fd, beside = tempfile.mkstemp(prefix=".sockact-", dir=os.path.dirname(target))
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(contents)
                _as_before(fd, target)
                file.flush()
                os.fsync(fd)
            os.replace(beside, target)
        except BaseException:
            os.unlink(beside)
            raise
    except OSError as error:
        raise Failure(f"cannot write {target}: {error.strerror}; use sudo") from error


def _as_before(fd: int, target: str) -> None:
    """Give the new file the mode and the owner of the one that it replaces, if any."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(target)
        os.fchmod(fd, found.st_mode & 0o7777)
        os.fchown(fd, found.st_uid, found.st_gid)
