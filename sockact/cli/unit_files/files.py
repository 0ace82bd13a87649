"""Writing several files, each as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile

import click

from sockact.cli.failures import Failure


def write_all(folder: str, texts: dict[str, str], *, force: bool) -> None:
    """Write the files of this folder, mode 0644, each as a whole; none while one is not ready.

    Raises UsageError when one is there already and `force` is not set, Failure when one cannot be
    written.
    """
    check_free(folder, texts, force=force)
    with contextlib.ExitStack() as undo:
        try:
            os.makedirs(folder, mode=0o755, exist_ok=True)
            ready = [(_beside(folder, text, undo), name) for name, text in texts.items()]
            for path, name in ready:
                os.rename(path, os.path.join(folder, name))
        except OSError as error:
            hint = "use sudo, or --user-unit" if isinstance(error, PermissionError) else "mend that"
            raise Failure(f"cannot write to {folder}: {error.strerror}; {hint}") from error
        undo.pop_all()


def check_free(folder: str, texts: dict[str, str], *, force: bool) -> None:
    """Can they be written there? Raises UsageError as `write_all`."""
    for path in (os.path.join(folder, name) for name in texts):
        if os.path.isdir(path) and not os.path.islink(path):
            raise click.UsageError(f"{path} is a directory: remove it, or choose another name")
    there = [name for name in texts if os.path.lexists(os.path.join(folder, name))]
    if there and not force:
        raise click.UsageError(
            f"{os.path.join(folder, there[0])} exists: add --force to overwrite it, "
            f"or choose another name"
        )


def _beside(folder: str, text: str, undo: contextlib.ExitStack) -> str:
    """A file with this text and a name of its own, which `undo` removes."""
    fd, path = tempfile.mkstemp(prefix=".sockact-", dir=folder)
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
