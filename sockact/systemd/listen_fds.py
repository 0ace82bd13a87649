"""The descriptors that systemd has passed to this process: sd_listen_fds(3), with their names.

In Python alone, without libsystemd: docs/dependencies.md says why.
"""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST = 3
"""SD_LISTEN_FDS_START."""
_UNNAMED = "unknown"
# No process has a descriptor whose number has more; int() refuses one of thousands.
_DIGITS = 9
_NOT_OURS = "start sockact run itself from the unit, not through a shell"


def passed(environment: Mapping[str, str]) -> dict[int, str]:
    """Descriptor → name, in the order of the Listen…= lines. They are close-on-exec from now on.

    `environment` has LISTEN_FDS, of which each program since systemd's exec(2) has a copy.
    Raises OperatorError when it is meant for another process, garbled, or passes nothing.
    """
    _check_receiver(environment)
    fds = range(_FIRST, _FIRST + _count(environment["LISTEN_FDS"]))
    try:
        for fd in fds:
            os.set_inheritable(fd, False)
    except OSError as error:
        raise OperatorError(
            f"LISTEN_FDS={len(fds)} names descriptors that are not open: "
            "is the .socket unit active?"
        ) from error
    return dict(zip(fds, _names(environment, len(fds)), strict=True))


def _check_receiver(environment: Mapping[str, str]) -> None:
    pid = environment.get("LISTEN_PID", "")
    if pid != str(os.getpid()):
        raise OperatorError(
            f"LISTEN_PID={pid or '(unset)'} is not this process ({os.getpid()}): {_NOT_OURS}"
        )
    # From systemd 258 on, and where a pidfd has an inode of its own (Linux 6.9), which no later
    # process gets: a pid is reused.
    wanted = environment.get("LISTEN_PIDFDID")
    if wanted is not None and (own := _own_inode()) is not None and wanted != str(own):
        raise OperatorError(f"LISTEN_PIDFDID={wanted} is not this process ({own}): {_NOT_OURS}")


def _own_inode() -> int | None:
    """That of a pidfd of this process; None where it may have none."""
    try:
        pidfd = os.pidfd_open(os.getpid())
    except OSError:
        return None
    try:
        return os.fstat(pidfd).st_ino
    finally:
        os.close(pidfd)


def _count(value: str) -> int:
    digits = value.isascii() and value.isdecimal() and len(value) <= _DIGITS
    if not digits:
        raise OperatorError(
            f"LISTEN_FDS={value!r} cannot be read: it must be the number of passed listeners"
        )
    if not int(value):
        raise OperatorError(
            f"LISTEN_FDS={value}: systemd passed no listener; "
            "start the .socket unit (Sockets= names it)"
        )
    return int(value)


def _names(environment: Mapping[str, str], count: int) -> list[str]:
    """One for each, which may be empty, and may repeat."""
    text = environment.get("LISTEN_FDNAMES")
    names = [_UNNAMED] * count if text is None else text.split(":")
    if len(names) != count:
        raise OperatorError(
            f"LISTEN_FDS={count} and LISTEN_FDNAMES={text!r} do not fit: one name for each"
        )
    return names
