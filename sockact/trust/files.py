"""Regular files at places that other users can write: read, appended to and replaced.

Files of sockact's own, in a directory that belongs to the program, too, are reached through no
link: the last `plain` names of their path are looked up as they are, whoever made a link of one.

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
    from collections.abc import Callable, Iterator

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
        state = _regular(found)
        _check_readable(found, state, told)
        return _contents(found, most)


def read_own(path: str, most: int, plain: int = 1) -> bytes:
    """The first `most` bytes of a regular file that `replace_own` has written."""
    with _find_own(path, plain) as found:
        _check_names(found, _regular(found))
        return _contents(found, most)


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
                return _create(found, found.name, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK, mode)
    raise OSError(errno.EBUSY, "keeps being replaced", path)


def replace(path: str, contents: bytes, mode: int | None = None) -> None:
    """Replace a file atomically, or create it: `beside`."""
    with beside(path, contents, mode) as put:
        put()


@contextlib.contextmanager
def beside(path: str, contents: bytes, mode: int | None = None) -> Iterator[Callable[[], None]]:
    """Write the contents to disk beside the file; calling the result replaces it, atomically.

    Without a mode, its mode and owner stay, and its links are followed, but for those that root is
    shown by others. Else it becomes a file of ours of exactly this mode, and a link is replaced.
    """
    plain = 0 if mode is None else 1
    with _find_own(path, plain) as found:
        if found.fd >= 0 and (mode is None or stat.S_ISDIR(found.stat().st_mode)):
            _regular(found)

        def finish(fd: int) -> None:
            if mode is not None:
                os.fchmod(fd, mode)
            elif found.fd >= 0:
                before = found.stat()
                os.fchown(fd, before.st_uid, before.st_gid)
                os.fchmod(fd, before.st_mode & 0o777)
            os.fsync(fd)

        name = f".sockact-{os.getpid()}-{os.urandom(8).hex()}"
        with _written(found, name, contents, 0o600, finish) as put:
            yield put


def replace_own(path: str, contents: bytes, mode: int, plain: int = 1) -> None:
    """Replace a file that no other process writes, atomically; it becomes a file of ours of this
    mode, less the umask. Does not wait for the disk.
    """
    with _find_own(path, plain) as found:
        name = f"{found.name}.new"
        # Of a process that was killed, or the program's.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=found.parent)
        with _written(found, name, contents, mode) as put:
            put()


def remove_own(path: str, plain: int = 1) -> None:
    """Remove a file."""
    with _find_own(path, plain) as found:
        os.unlink(found.name, dir_fd=found.parent)


def names_in(path: str, most: int, plain: int = 1) -> list[str]:
    """The names in a directory; ENFILE if there are more than `most`."""
    with _find_own(path, plain) as found:
        _check_directory(found)
        fd = found.reopen(os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = []
            with os.scandir(fd) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > most:
                        found.refuse(errno.ENFILE, f"more than {most} entries; remove some")
            return names
        finally:
            os.close(fd)


def make_directory(path: str, mode: int, plain: int = 0, *, exact: bool = False) -> bool:
    """Make a directory of this mode, and with mode 0755 those above it; less the umask, unless the
    modes are to be `exact`. Returns False if it is there already.
    """
    try:
        found = _find_own(path, plain)
    except FileNotFoundError:
        make_directory(os.path.dirname(path), 0o755, max(plain - 1, 0), exact=exact)
        found = _find_own(path, plain)
    with found:
        made = found.fd < 0 and _make(found, mode)
        _check_directory(found)
        if made and exact:
            os.chmod(f"/proc/self/fd/{found.fd}", mode)
        return made


def _make(found: Found, mode: int) -> bool:
    """Make the directory that was not found; False if another process has just made one."""
    made = True
    try:
        os.mkdir(found.name, mode, dir_fd=found.parent)
    except FileExistsError:
        made = False
    except OSError as error:
        raise OSError(error.errno, error.strerror, found.path) from error
    found.look(found.name)
    return made


def _find_own(path: str, plain: int) -> Found:
    return walk.find(path, foreign_links=os.geteuid() != 0, plain=plain)


def _check_directory(found: Found) -> None:
    if not stat.S_ISDIR(found.stat().st_mode):
        found.refuse(errno.ENOTDIR)


def _regular(found: Found) -> os.stat_result:
    state = found.stat()
    if stat.S_ISDIR(state.st_mode):
        found.refuse(errno.EISDIR)
    if not stat.S_ISREG(state.st_mode):
        found.refuse(errno.EINVAL, NOT_A_FILE)
    return state


@contextlib.contextmanager
def _written(
    found: Found,
    name: str,
    contents: bytes,
    mode: int,
    finish: Callable[[int], None] = lambda _fd: None,
) -> Iterator[Callable[[], None]]:
    """A new file of this name beside the one that was found, which it replaces when the result is
    called. `finish` is called with its descriptor.
    """

    def put() -> None:
        found.let_go()  # To hold what is replaced can make its end take milliseconds.
        os.replace(name, found.name, src_dir_fd=found.parent, dst_dir_fd=found.parent)

    try:
        with open(_create(found, name, os.O_WRONLY, mode), "wb") as file:
            file.write(contents)
            file.flush()
            finish(file.fileno())
        yield put
    finally:
        # Also after Ctrl-C; gone if it has replaced the other one.
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=found.parent)


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
    _check_names(found, state)


def _check_names(found: Found, state: os.stat_result) -> None:
    if os.geteuid() == 0 and found.controllers - {state.st_uid} and state.st_nlink > 1:
        found.refuse(errno.EMLINK, "a file with several names in a directory of another user")


def _create(found: Found, name: str, flags: int, mode: int) -> int:
    flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
    try:
        return os.open(name, flags, mode, dir_fd=found.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, found.path) from error


def _contents(found: Found, most: int) -> bytes:
    fd = found.reopen(os.O_RDONLY | os.O_NONBLOCK)
    try:
        parts: list[bytes] = []
        while most > 0 and (part := os.read(fd, min(most, _READ))):
            parts.append(part)
            most -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)
