"""The configurations that have served, as `sockact config` shows them and puts them back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sockact.cli.configuration import document
from sockact.cli.failures import Failure
from sockact.core.history import snapshots
from sockact.supervisor.records.state_dir import state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Kept:
    """One of them."""

    number: int
    path: str

    def text(self) -> str:
        """Raises Failure."""
        return text_of(self.path)


def folder(name: str) -> str:
    """Where those of a service are, if there are any."""
    return os.path.join(state_dir(name, os.environ), snapshots.FOLDER)


def all_of(name: str) -> list[Kept]:
    """Those of a service, from the oldest on. Raises Failure."""
    base = folder(name)
    try:
        there = snapshots.numbered(os.listdir(base))
    except FileNotFoundError:
        there = {}
    except OSError as error:
        raise Failure(f"{base} cannot be read: {error.strerror}; use sudo") from error
    return [Kept(number, os.path.join(base, file)) for number, file in there.items()]


def numbered(name: str, number: int) -> Kept:
    """That one. Raises UsageError."""
    there = all_of(name)
    for one in there:
        if one.number == number:
            return one
    which = f"{there[0].number} to {there[-1].number} are there" if there else "none has served yet"
    raise click.UsageError(f"{name}: there is no configuration {number}: {which}")


def text_of(path: str) -> str:
    """For reading and comparing; bytes that are not UTF-8 are replaced. Raises Failure."""
    return _contents(path).decode("utf-8", errors="replace")


def _contents(path: str) -> bytes:
    try:
        return document.contents(path)
    except document.Unreadable as error:
        raise Failure(f"{path} cannot be read: {error}") from error


@contextlib.contextmanager
def put_back(path: str, text: str) -> Iterator[None]:
    """Give the file this text, in one step; what it said before when what follows fails."""
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
        raise Failure(f"{target} cannot be written: {error.strerror}; use sudo") from error


def _as_before(fd: int, target: str) -> None:
    """Mode and owner of the file that is replaced, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(target)
        os.fchmod(fd, found.st_mode & 0o7777)
        os.fchown(fd, found.st_uid, found.st_gid)
