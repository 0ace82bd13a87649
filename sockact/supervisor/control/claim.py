"""Creates and locks the directory of a service: docs/control.md.

For the supervisor only. Needs flock(2); raises RuntimeDirError, whose text is one line that says
what to do.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from sockact.core.numbers import whole
from sockact.supervisor.control.paths import LOCK, RuntimeDirError, control_path, try_lock
from sockact.trust import files, walk

# How often the lock is asked for again while only readers hold it, each for microseconds.
_LOCK_ATTEMPTS = 10_000
# How often to start again when the one before removes what we have just opened.
_CLAIM_ATTEMPTS = 100


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


def take(directory: str) -> Claim:
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
            if not _is_free(fd):
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


def _is_free(fd: int) -> bool:
    """Get the exclusive lock; False when another process has it exclusively.

    A reader of is_running() holds a shared lock for an instant, which must not look like a
    running supervisor: then the lock can be shared with it, and is free a moment later.
    """
    for _ in range(_LOCK_ATTEMPTS):
        if try_lock(fd, fcntl.LOCK_EX):
            return True
        if not try_lock(fd, fcntl.LOCK_SH):
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.sched_yield()
    return False


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
