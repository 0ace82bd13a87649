"""Regular files at places that other users can write: read, appended to and replaced.

Raises OSError, whose file name is the whole path.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from sockact.trust import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.trust.walk import Found

_ATTEMPTS = 16
"""How often to look again when a file comes and goes."""
_READ = 1 << 16
NOT_A_FILE = "not a regular file"


def read(path: str, most: int, *, told: bool = False) -> bytes:
    """The first `most` bytes of a regular file.

    What is read may be shown to others. So whoever could choose the file must own it, or everybody
    must be able to read it; else PermissionError. `told`: a file that others wrote names this path.
    """
    with walk.find(path) as found:
        state = found.stat()
        if stat.S_ISDIR(state.st_mode):
            found.refuse(errno.EISDIR)
        if not stat.S_ISREG(state.st_mode):
            found.refuse(errno.EINVAL, NOT_A_FILE)
        _check_readable(found, state, told)
        fd = found.reopen(os.O_RDONLY | os.O_NONBLOCK)
    try:
        return _contents(fd, most)
    finally:
        os.close(fd)


def open_to_append(path: str, mode: int) -> int:
    """Open a file, or a character device, for appending; create the file, but no directory.

    As root no symbolic link is followed that somebody else has made, and no file of root's is
    written that somebody else could have put there as a hard link.
    """
    for _ in range(_ATTEMPTS):
        with walk.find(path, foreign_links=os.geteuid() != 0) as found:
            if found.fd >= 0:
                _check_writable(found)
                try:
                    # For reading, too: does it end with a whole line?
                    return found.reopen(os.O_RDWR | os.O_APPEND | os.O_NONBLOCK)
                except PermissionError:
                    return found.reopen(os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
            with contextlib.suppress(FileExistsError):
                return _create(found, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK, mode)
    raise OSError(errno.EBUSY, "keeps being replaced", path)


def replace(path: str, contents: bytes) -> None:
    """Replace a file atomically, or create it; mode and owner stay. Its links are followed, but
    for those that root is shown by others.
    """
    with walk.find(path, foreign_links=os.geteuid() != 0) as found:
        if found.fd >= 0 and not stat.S_ISREG(found.stat().st_mode):
            found.refuse(errno.EINVAL, NOT_A_FILE)
        following = f".sockact-{os.getpid()}-{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(following, flags, 0o600, dir_fd=found.parent)
        try:
            with open(fd, "wb") as file:
                file.write(contents)
                if found.fd >= 0:
                    before = found.stat()
                    os.fchown(fd, before.st_uid, before.st_gid)
                    os.fchmod(fd, before.st_mode & 0o777)
                file.flush()
                os.fsync(fd)
            os.replace(following, found.name, src_dir_fd=found.parent, dst_dir_fd=found.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(following, dir_fd=found.parent)
            raise


def _check_readable(found: Found, state: os.stat_result, told: bool) -> None:
    controllers = found.controllers | ({walk.SOMEBODY} if told else set())
    strangers = controllers - {state.st_uid}
    if strangers and (found.hidden or not state.st_mode & stat.S_IROTH):
        who = "another user" if walk.SOMEBODY in strangers else f"user {min(strangers)}"
        found.refuse(
            errno.EACCES,
            f"{who} can make this path lead to any file, and not everybody may read this one; "
            f"make it readable for all, or give it to that user",
        )


def _check_writable(found: Found) -> None:
    state = found.stat()
    if stat.S_ISDIR(state.st_mode):
        found.refuse(errno.EISDIR)
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISCHR(state.st_mode)):
        found.refuse(errno.EINVAL, "neither a file nor a character device")
    if os.geteuid() == 0 and found.controllers - {state.st_uid} and state.st_nlink > 1:
        found.refuse(errno.EMLINK, "a file with several names in a directory of another user")


def _create(found: Found, flags: int, mode: int) -> int:
    flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(found.name, flags, mode, dir_fd=found.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, found.path) from error


def _contents(fd: int, most: int) -> bytes:
    parts: list[bytes] = []
    while most > 0 and (part := os.read(fd, min(most, _READ))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
