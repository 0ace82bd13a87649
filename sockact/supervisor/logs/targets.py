"""The log files of a service, as --log and --log-stderr name them: docs/logs.md."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings

STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class Target:
    """A log, and the standard descriptors that write to it."""

    path: str
    descriptors: tuple[int, ...]


def targets(settings: Settings) -> tuple[Target, ...]:
    """Return a target for each file; output and error to the same file share a pipe, in order."""
    out, err = settings.log, settings.log_stderr
    if out and err in ("", out):
        return (Target(out, (STDOUT, STDERR)),)
    both = Target(out, (STDOUT,)), Target(err, (STDERR,))
    return tuple(target for target in both if target.path)


def check(settings: Settings) -> None:
    """Check that the logs can be written. Raises OperatorError."""
    found = targets(settings)
    if not found:
        return
    from sockact.supervisor.logs.file import open_log

    for target in found:
        try:
            os.close(open_log(target.path))
        except OSError as error:
            raise OperatorError(
                f"cannot write to the log {target.path}: {error.strerror}; {_advice(error)}"
            ) from error
    if len(found) > 1 and os.path.samefile(found[0].path, found[1].path):
        raise OperatorError(
            f"{found[0].path} and {found[1].path} are the same file; omit --log-stderr"
        )


def _advice(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "create its directory, or use another file"
    if isinstance(error, PermissionError):
        return f"make it writable for user {os.geteuid()}, or use another file"
    return "use another file"
