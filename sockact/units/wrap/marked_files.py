"""Files that `sockact wrap` writes, with a mark that shows whether somebody has changed them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re

from sockact.core.errors import OperatorError
from sockact.trust import files

_HEAD = "# Written by `sockact wrap`, removed by `sockact unwrap`."
# Any wording, as the version that wrote the file may be another one.
_MARK = re.compile(r"# Written by `sockact wrap`[^\n]* sha256=([0-9a-f]{64})\n")


def marked(text: str) -> str:
    """The text with our mark in front."""
    return f"{_HEAD} sha256={_digest(text)}\n{text}"


def is_ours(text: str) -> bool:
    """Whether the text has our mark, changed or not."""
    return _MARK.match(text) is not None


def is_unchanged(text: str) -> bool:
    """Whether the text has our mark and is as `marked` returned it."""
    found = _MARK.match(text)
    return found is not None and found[1] == _digest(text[found.end() :])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read(path: str) -> str:
    """The text of a file with our mark; empty if it does not exist or has no mark.

    Raises OperatorError if it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OperatorError(f"cannot read {path}: {error.strerror}; use sudo") from error
    return text if is_ours(text) else ""


def write(path: str, text: str) -> None:
    """Replace a file atomically, and create its directory. Raises OperatorError."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        files.replace(path, text.encode("utf-8", "surrogateescape"), 0o644)
    except OSError as error:
        raise _cannot("write", path, error, "use sudo or --user-unit") from error


def check_writable(path: str) -> None:
    """Raises OperatorError as `write` would."""
    if not os.access(os.path.dirname(path), os.W_OK):
        error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise _cannot("write", path, error, "use sudo or --user-unit")


def remove(path: str) -> None:
    """Remove a file, and its directory if that is an empty drop-in directory.

    Raises OperatorError.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise _cannot("remove", path, error, "use sudo") from error
    if os.path.dirname(path).endswith(".d"):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))


def _cannot(what: str, path: str, error: OSError, rights: str) -> OperatorError:
    hint = f"; {rights}" if isinstance(error, PermissionError) else ""
    return OperatorError(f"cannot {what} {path}: {error.strerror}{hint}")
