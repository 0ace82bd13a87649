"""The kept versions of a configuration file, which `sockact config` shows and restores."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sockact.cli.configuration import document
from sockact.cli.terminal.failures import Failure
from sockact.core.history import snapshots
from sockact.supervisor.records.state_dir import state_dir
from sockact.trust import files

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
        there = snapshots.numbered(files.names_in(base, snapshots.MOST_ENTRIES))
    except FileNotFoundError:
        there = {}
    except OSError as error:
        advice = "; use sudo" if isinstance(error, PermissionError) else ""
        raise Failure(f"cannot read {base}: {error.strerror}{advice}") from error
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
    before = _contents(path) if os.path.lexists(path) else None
    _replace(path, text.encode())
    try:
        yield
    except BaseException:
        if before is None:
            os.unlink(path)
        else:
            _replace(path, before)
        raise


def _replace(path: str, contents: bytes) -> None:
    try:
        files.replace(path, contents)
    except OSError as error:
        advice = "; use sudo" if isinstance(error, PermissionError) else ""
        raise Failure(f"cannot write {path}: {error.strerror}{advice}") from error
