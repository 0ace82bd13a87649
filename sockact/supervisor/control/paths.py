"""Where a service keeps its lock and its control socket: the rules of docs/control.md.

Shared by the supervisor, which creates and locks the directory, and the command line, which only
looks. Needs flock(2) and Unix sockets; raises RuntimeDirError, whose text is one line that says
what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from sockact.core.errors import OperatorError
from sockact.core.numbers import whole
from sockact.trust import files, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CONTROL = "control"
LOCK = "lock"
SYSTEM_BASE = "/run/sockact"
_USERS = "/run/user"
NAME_LIMIT = 64
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.@-")
# struct sockaddr_un has room for 108 bytes, the last of which is NUL.
_SOCKET_PATH_LIMIT = 107
# How often the lock is asked for again while only readers hold it, each for microseconds.
_LOCK_ATTEMPTS = 10_000
# How often to start again when the one before removes what we have just opened.
_CLAIM_ATTEMPTS = 100


class RuntimeDirError(OperatorError):
    """The runtime directory cannot be used; the text says why and what the operator can do."""


class AlreadyRunning(RuntimeDirError):
    """Another supervisor holds the lock. `pid` is None when it has not written it yet."""

    def __init__(self, directory: str, pid: int | None) -> None:
        self.directory = directory
        self.pid = pid
        who = f"pid {pid}" if pid else "another process"
        super().__init__(
            f"a supervisor of this name is already running ({who} holds {directory}/{LOCK}); "
            f"stop it first, or choose another name with --name"
        )


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


class Claim:
    """The directory of a service whose lock this process holds, until it releases or ends."""

    def __init__(self, directory: str, fd: int, made: bool) -> None:
        self.directory = directory
        self.made = made
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def release(self) -> None:
        """Remove the lock, and the directory if the claim made it, and let others have both."""
        if self._fd < 0:
            return
        path = os.path.join(self.directory, LOCK)
        # While the lock is held: afterwards it would be the next one's.
        with contextlib.suppress(OSError):
            if _is_at(self._fd, path):
                os.unlink(path)
                if self.made:
                    os.rmdir(self.directory)
        os.close(self._fd)
        self._fd = -1


def claim(directory: str) -> Claim:
    """Create the directory and take its lock. Raises RuntimeDirError, with nothing left behind."""
    for left in reversed(range(_CLAIM_ATTEMPTS)):
        made = False
        try:
            made = create(directory)
            return Claim(directory, lock(directory), made)
        except RuntimeDirError as error:
            if made:
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            # One that ends has removed the directory under our hands, or between mkdir(2), which
            # found it there, and the look at what that is.
            if not left or not isinstance(error.__cause__, FileNotFoundError | FileExistsError):
                raise
    raise AssertionError("the last attempt returns or raises")


def create(directory: str) -> bool:
    """Make the service's directory, mode 0700, and what is missing above it, mode 0755.

    False when it is there already.

    One that exists, as with RuntimeDirectory=, is left as it is, but it must be ours to trust:
    whoever could replace the control socket could take over the service's reloads.
    """
    control_path(directory)
    try:
        made = files.make_directory(directory, 0o700, exact=True)
        # As the clients: they follow no link of others, either.
        with walk.find(directory, foreign_links=False) as there:
            found = there.stat()
    except OSError as error:
        raise RuntimeDirError(
            f"cannot create {directory}: {error.strerror}; {advice(error, directory)}"
        ) from error
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
        raise RuntimeDirError(
            f"other users can modify {directory} (owner {found.st_uid}, "
            f"mode {found.st_mode & 0o7777:04o}); run `chown {os.geteuid()}` and `chmod 0700` on "
            f"it, or set SOCKACT_RUNTIME_DIR to another directory"
        )
    return made


def advice(error: OSError, directory: str) -> str:
    """What the operator can do when nothing can be created in, or as, this directory."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space there, or set SOCKACT_RUNTIME_DIR to a directory with free space"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        while directory and not os.path.lexists(directory):
            directory = os.path.dirname(directory)
        return f"{directory} is not a directory; set SOCKACT_RUNTIME_DIR to a directory"
    if error.errno == errno.ELOOP:
        return "set SOCKACT_RUNTIME_DIR to a directory that no other user can replace"
    return (
        f"make it writable for user {os.geteuid()}, "
        f"or set SOCKACT_RUNTIME_DIR to a writable directory"
    )


def lock(directory: str) -> int:
    """Take the service's lock and write our pid into it; returns the fd that holds it.

    The lock lasts until that fd (close-on-exec) and all its copies are closed. Raises
    AlreadyRunning at once when another supervisor holds it.
    """
    path = os.path.join(directory, LOCK)
    for _ in range(_CLAIM_ATTEMPTS):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise RuntimeDirError(
                f"cannot open {path}: {error.strerror}; {advice(error, directory)}"
            ) from error
        try:
            if not _take(fd):
                raise AlreadyRunning(directory, _read_pid(fd))
            # Who held it before may have removed the file after we had opened it.
            if _is_at(fd, path):
                _write_pid(fd, path)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
    raise RuntimeDirError(f"{path} keeps being replaced by another process; find and stop it")


def is_running(directory: str) -> bool:
    """Whether a supervisor holds this directory's lock; False when we may not look."""
    # The directory is another user's, who may have put a pipe there: O_NONBLOCK.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(os.path.join(directory, LOCK), flags)
    except OSError:
        return False
    try:
        return not _flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


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
        return os.listdir(base)
    except OSError:
        return []


def _take(fd: int) -> bool:
    """Get the exclusive lock; False when another process has it exclusively.

    A reader of is_running() holds a shared lock for an instant, which must not look like a
    running supervisor: then the lock can be shared with it, and is free a moment later.
    """
    for _ in range(_LOCK_ATTEMPTS):
        if _flock(fd, fcntl.LOCK_EX):
            return True
        if not _flock(fd, fcntl.LOCK_SH):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.sched_yield()
    return False


def _flock(fd: int, operation: int) -> bool:
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    return True


def _is_at(fd: int, path: str) -> bool:
    """Whether the open file is the one that has this path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _write_pid(fd: int, path: str) -> None:
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise RuntimeDirError(
            f"cannot write {path}: {error.strerror}; {advice(error, os.path.dirname(path))}"
        ) from error


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return whole(text)
