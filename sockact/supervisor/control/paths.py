"""Where services keep their locks and control sockets, and which of them run: docs/control.md.

For the supervisor and the command line. Never creates anything. Needs flock(2); raises
RuntimeDirError, whose text is one line that says what to do.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os

from sockact.core.errors import OperatorError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CONTROL = "control"
LOCK = "lock"
SYSTEM_BASE = "/run/sockact"
_USERS = "/run/user"
NAME_LIMIT = 64
MOST_ENTRIES = 20_000
"""Entries of a directory that are looked at. It may be another user's."""
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.@-")
# struct sockaddr_un has room for 108 bytes, the last of which is NUL.
_SOCKET_PATH_LIMIT = 107


class RuntimeDirError(OperatorError):
    """The runtime directory cannot be used; the text says why and what the operator can do."""


def valid_name(name: str) -> bool:
    """Whether this can name a service: 1 to 64 of A-Z a-z 0-9 : _ . @ -

    Not with a dot or a dash in front: a hidden directory, and an option of every command.
    """
    good = 0 < len(name) <= NAME_LIMIT and _NAME_CHARACTERS.issuperset(name)
    return good and name[0] not in ".-"


def runtime_dir(name: str, environ: Mapping[str, str] | None = None, uid: int | None = None) -> str:
    """The directory of the service `name`, which need not exist. `uid` is the effective one."""
    environ = os.environ if environ is None else environ
    first = _runtime_directory(environ)
    if not environ.get("SOCKACT_RUNTIME_DIR") and first and os.path.basename(first) == name:
        return first
    return os.path.join(base_dir(environ, uid), name)


def base_dir(environ: Mapping[str, str] | None = None, uid: int | None = None) -> str:
    """The directory that holds one directory for each service."""
    environ = os.environ if environ is None else environ
    if chosen := environ.get("SOCKACT_RUNTIME_DIR") or _runtime_directory(environ):
        return os.path.abspath(chosen)
    if (os.geteuid() if uid is None else uid) == 0:
        return SYSTEM_BASE
    if session := environ.get("XDG_RUNTIME_DIR"):
        return os.path.join(session, "sockact")
    raise RuntimeDirError(
        "no runtime directory is set; set SOCKACT_RUNTIME_DIR to a directory of your own, "
        "or RuntimeDirectory=sockact/NAME in the unit"
    )


def bases(environ: Mapping[str, str] | None = None, uid: int | None = None) -> list[str]:
    """All directories that may hold services which this user can call, the own one first.

    Only one if it was chosen. Else root can call the services of all users, too.
    """
    environ = os.environ if environ is None else environ
    uid = os.geteuid() if uid is None else uid
    try:
        found = [base_dir(environ, uid)]
    except RuntimeDirError:
        found = []
    if not environ.get("SOCKACT_RUNTIME_DIR") and not _runtime_directory(environ):
        found.append(SYSTEM_BASE)
        if uid == 0:
            found += [f"{_USERS}/{user}/sockact" for user in sorted(_entries(_USERS))]
    return list(dict.fromkeys(found))


def control_path(directory: str) -> str:
    """The control socket in this directory. Raises RuntimeDirError when no socket can have it."""
    path = os.path.join(directory, CONTROL)
    if (size := len(os.fsencode(path))) > _SOCKET_PATH_LIMIT:
        raise RuntimeDirError(
            f"{path} is too long for a socket path ({size} bytes, at most {_SOCKET_PATH_LIMIT}); "
            f"set SOCKACT_RUNTIME_DIR to a shorter path"
        )
    return path


def is_running(directory: str) -> bool:
    """Whether a supervisor holds this directory's lock; False when we may not look."""
    # The directory is another user's, who may have put a pipe there: O_NONBLOCK.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(f"{directory}/{LOCK}", flags)
    except OSError:
        return False
    try:
        return not try_lock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def has_no_socket(directory: str) -> bool:
    """Whether there is no control socket in this directory; False when we may not look."""
    try:
        os.lstat(f"{directory}/{CONTROL}")
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def try_lock(fd: int, operation: int) -> bool:
    """flock(2) without waiting; False if another process holds the lock."""
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True


def running(environ: Mapping[str, str] | None = None, uid: int | None = None) -> dict[str, str]:
    """The services that run in the base directory: name to directory, sorted by name."""
    return running_in(base_dir(environ, uid))


def running_in(base: str) -> dict[str, str]:
    """The services that run in this directory: name to directory, sorted by name."""
    if os.path.lexists(os.path.join(base, LOCK)):
        # $RUNTIME_DIRECTORY may be the service's own directory.
        candidates = {os.path.basename(base): base}
    else:
        candidates = {name: os.path.join(base, name) for name in _entries(base)}
    return {
        name: directory
        for name, directory in sorted(candidates.items())
        if valid_name(name) and is_running(directory)
    }


def _runtime_directory(environ: Mapping[str, str]) -> str:
    """The first of systemd's RuntimeDirectory= entries, without a slash at its end; "" if none."""
    return environ.get("RUNTIME_DIRECTORY", "").split(":")[0].rstrip("/")


def _entries(base: str) -> list[str]:
    try:
        with os.scandir(base) as found:
            return [entry.name for entry in itertools.islice(found, MOST_ENTRIES)]
    except OSError:
        return []


def is_overfull(base: str) -> bool:
    """Whether a directory has entries that are not looked at."""
    try:
        with os.scandir(base) as found:
            return next(itertools.islice(found, MOST_ENTRIES, None), None) is not None
    except OSError:
        return False
