"""Writes FOLDER/man1, FOLDER/man7 and FOLDER/completions.

The texts are the same at each run: a date is in them only if $SOURCE_DATE_EPOCH gives it (seconds
since 1970, https://reproducible-builds.org/specs/source-date-epoch/).
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from sockact.cli.manual import completions, pages


@click.command()
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False))
def command(folder: str) -> None:
    """Write the man pages and the completions of sockact below FOLDER."""
    try:
        date = date_of(os.environ.get("SOURCE_DATE_EPOCH", ""))
    except (ValueError, OverflowError, OSError) as error:
        raise click.UsageError("SOURCE_DATE_EPOCH is not a number of seconds") from error
    try:
        for name, text in files(date).items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error


def files(date: str = "") -> dict[str, str]:
    """Path below FOLDER → text."""
    return {**pages.files(date), **completions.files()}


def date_of(epoch: str) -> str:
    """YYYY-MM-DD of these seconds since 1970; empty for an empty text. Raises ValueError."""
    return datetime.fromtimestamp(int(epoch), UTC).date().isoformat() if epoch else ""


if __name__ == "__main__":
    command.main(sys.argv[1:], prog_name="python3 -m sockact.cli.manual")
