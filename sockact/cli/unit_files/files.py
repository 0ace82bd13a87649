"""Several files, none of which is replaced before the contents of all are on disk."""

from __future__ import annotations

import contextlib
import os

import click

from sockact.cli.terminal.failures import Failure
from sockact.trust import files


def write_all(directory: str, texts: dict[str, str], *, force: bool) -> None:
    """Write files to a directory with mode 0644, each atomically, once all texts are on disk.

    Raises UsageError if one exists and `force` is not set, Failure if one cannot be written.
    """
    check_free(directory, texts, force=force)
    with contextlib.ExitStack() as beside:
        try:
            os.makedirs(directory, mode=0o755, exist_ok=True)
            written = [
                files.beside(os.path.join(directory, name), text.encode(), 0o644)
                for name, text in texts.items()
            ]
            for put in [beside.enter_context(one) for one in written]:
                put()
        except OSError as error:
            hint = "; use sudo or --user-unit" if isinstance(error, PermissionError) else ""
            raise Failure(f"cannot write to {directory}: {error.strerror}{hint}") from error


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
