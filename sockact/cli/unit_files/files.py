"""Several files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile

import click

from sockact.cli.terminal.failures import Failure


def write_all(directory: str, texts: dict[str, str], *, force: bool) -> None:
    """Write files to a directory with mode 0644, each atomically, once all texts are on disk.

    Raises UsageError if one exists and `force` is not set, Failure if one cannot be written.
    """
    check_free(directory, texts, force=force)
    with contextlib.ExitStack() as undo:
        try:
            os.makedirs(directory, mode=0o755, exist_ok=True)
            ready = [(_beside(directory, text, undo), name) for name, text in texts.items()]
            for path, name in ready:
                os.rename(path, os.path.join(directory, name))
        except OSError as error:
            hint = "; use sudo or --user-unit" if isinstance(error, PermissionError) else ""
            raise Failure(f"cannot write to {directory}: {error.strerror}{hint}") from error
        undo.pop_all()


def check_free(directory: str, texts: dict[str, str], *, force: bool) -> None:
    """Raises UsageError as `write_all` would."""
    for path in (os.path.join(directory, name) for name in texts):
        if os.path.isdir(path) and not os.path.islink(path):
            raise click.UsageError(f"{path} is a directory; remove it, or choose another name")
    there = [name for name in texts if os.path.lexists(os.path.join(directory, name))]
    if there and not force:
        raise click.UsageError(
            f"{os.path.join(directory, there[0])} exists; add --force to overwrite it, "
            f"or choose another name"
        )


def _beside(directory: str, text: str, undo: contextlib.ExitStack) -> str:
    """A temporary file with the text, which `undo` removes."""
    fd, path = tempfile.mkstemp(prefix=".sockact-", dir=directory)
    undo.callback(_remove, path)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        os.fchmod(fd, 0o644)
        file.flush()
        os.fsync(fd)
    return path


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
