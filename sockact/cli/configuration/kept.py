"""The configurations that have served, as `sockact config` shows them and puts them back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sockact.cli.main import Failure
from sockact.core import snapshots
from sockact.supervisor.state_dir import state_dir

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


def all_of(name: str) -> list[Kept]:
    """Those of a service, from the oldest on. Raises Failure."""
    folder = os.path.join(state_dir(name, os.environ), snapshots.FOLDER)
    try:
        there = snapshots.numbered(os.listdir(folder))
    except FileNotFoundError:
        there = {}
    except OSError as error:
        raise Failure(f"{folder} cannot be read: {error.strerror}; use sudo") from error
    return [Kept(number, os.path.join(folder, file)) for number, file in there.items()]


def numbered(name: str, number: int) -> Kept:
    """That one. Raises UsageError."""
    there = all_of(name)
    for one in there:
        if one.number == number:
            return one
    which = f"{there[0].number} to {there[-1].number} are there" if there else "none has served yet"
    raise click.UsageError(f"{name}: there is no configuration {number}: {which}")


def text_of(path: str) -> str:
    """Raises Failure."""
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def put_back(path: str, text: str) -> Iterator[None]:
    """Give the file this text, in one step; what it said before when what follows fails."""
    target = os.path.realpath(path)
    # What it says may be no text, and that the reason to go back.
    before = _bytes_of(target)
    _replace(target, text.encode())
    try:
        yield
    except BaseException:
        if before is None:
            os.unlink(target)
        else:
            _replace(target, before)
        raise


def _bytes_of(path: str) -> bytes | None:
    """None: it is not there. Raises Failure."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from error


def _replace(target: str, data: bytes) -> None:
    folder = os.path.dirname(target)
    try:
        fd, beside = tempfile.mkstemp(prefix=".sockact-", dir=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
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
