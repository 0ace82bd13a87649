"""The descriptors that systemd has passed to this process, with their names: sd_listen_fds(3).

In Python, without libsystemd: docs/dependencies.md says why.
"""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST = 3
"""SD_LISTEN_FDS_START."""
_UNNAMED = "unknown"
_MOST = (1 << 31) - 1 - _FIRST
_NOT_OURS = "start sockact run directly from the unit, not through a shell"


def passed(environment: Mapping[str, str]) -> dict[int, str]:
    """The passed descriptors: descriptor → name, in the order of the Listen…= lines.

    Makes them close-on-exec. `environment` must have LISTEN_FDS. Raises OperatorError if the
    variables are meant for another process or cannot be read, or if no descriptor is passed.
    """
    _check_receiver(environment)
    fds = range(_FIRST, _FIRST + _count(environment["LISTEN_FDS"]))
    try:
        for fd in fds:
            os.set_inheritable(fd, False)
    except OSError as error:
        raise OperatorError(
            f"LISTEN_FDS={len(fds)} is set, but file descriptor {fd} is not open; "
            "check that the .socket unit is active"
        ) from error
    return dict(zip(fds, _names(environment, len(fds)), strict=True))


def _check_receiver(environment: Mapping[str, str]) -> None:
    pid = environment.get("LISTEN_PID", "")
    if pid != str(os.getpid()):
        raise OperatorError(
            f"LISTEN_PID={pid or '(unset)'} is not this process ({os.getpid()}); {_NOT_OURS}"
        )
    # systemd 258, where a pidfd has its own inode (Linux 6.9): unlike the pid it is never reused.
    wanted = environment.get("LISTEN_PIDFDID")
    if wanted is not None and (own := _own_inode()) is not None and wanted != str(own):
        raise OperatorError(f"LISTEN_PIDFDID={wanted} is not this process ({own}); {_NOT_OURS}")


def _own_inode() -> int | None:
    """The inode of a pidfd of this process; None if pidfd_open(2) fails."""
    try:
        pidfd = os.pidfd_open(os.getpid())
    except OSError:
        return None
    try:
        return os.fstat(pidfd).st_ino
    finally:
        os.close(pidfd)


def _count(value: str) -> int:
    count = whole(value, _MOST)
    if count is None:
        raise OperatorError(
            f"cannot read LISTEN_FDS={value!r}: must be the number of passed descriptors"
        )
    if not count:
        raise OperatorError(
            f"LISTEN_FDS={value}: systemd passed no listener; "
            "start the .socket unit (see Sockets= of the service)"
        )
    return count


def _names(environment: Mapping[str, str], count: int) -> list[str]:
    """One name for each descriptor; a name may be empty, and may repeat."""
    text = environment.get("LISTEN_FDNAMES")
    names = [_UNNAMED] * count if text is None else text.split(":")
    if len(names) != count:
        raise OperatorError(
            f"LISTEN_FDNAMES={text!r} must contain one name per file descriptor "
            f"(LISTEN_FDS={count})"
        )
    return names
