"""Socket files: whether a path can be trusted, and who owns the file.

systemd, as root, removes whatever file is at a ListenStream= path before it binds there, and for
SocketUser= it follows symbolic links to change the owner (systemd.socket(5)). So a path is only
safe if nobody but root can redirect it.
"""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import re
import stat

from sockact.trust import walk
from sockact.units.unitfile import Setting, command_line, escape_value, expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.units.facts import Facts

AROUND_START = ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost")
_SEPARATORS = re.compile(r"[\s'\";&|()]+")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_file(path: str, file: tuple[int, int] | None) -> bool:
    """Whether this file of a Unix socket (device and inode, as in sock_diag) is at the path."""
    try:
        with walk.find(path, plain=1) as found:
            state = found.stat()
            number = (_device(found.fd), state.st_ino & 0xFFFFFFFF)
            return stat.S_ISSOCK(state.st_mode) and file == number
    except OSError:
        return False


def _device(fd: int) -> int:
    """The device of its file system. st_dev is another number on Btrfs, which has several."""
    with open(f"/proc/self/fdinfo/{fd}") as info:
        mount = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", errors="surrogateescape") as mounts:
        lines = (line.split(None, 3) for line in mounts)
        major, _, minor = next(fields[2] for fields in lines if fields[0] == mount).partition(":")
    return int(major) << 20 | int(minor)


def rights(path: str) -> tuple[str, str, str] | None:
    """Owner, group and mode of a socket file; None if there is none."""
    try:
        with walk.find(path, plain=1) as file:
            found = file.stat()
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    return _user(found.st_uid), _group(found.st_gid), f"{found.st_mode & 0o777:04o}"


def owner_settings(
    paths: Sequence[str], user: str, group: str = "", why: str = ""
) -> Iterator[Setting]:
    """Settings of a .socket unit that give its socket files to a user, and to a group if named."""
    if not any(redirectable_at(path) or not _is_roots(path, sticky=True) for path in paths):
        yield Setting("SocketUser", escape_value(user), why)
        if group:
            yield Setting("SocketGroup", escape_value(group))
        return
    for path in paths:
        escape_value(path)
    whom = f"{user}:{group}" if group else user
    because = "Not SocketUser=: it follows links, and the directory's owner could put one there"
    command = command_line(("chown", "--no-dereference", "--", whom, *paths))
    yield Setting("ExecStartPost", command, because)


def redirectable_at(path: str) -> str:
    """A directory above a socket file's own in which others than root can replace an entry of the
    path; empty if there is none.
    """
    try:
        with walk.find(path, plain=1) as found:
            return next(filter(None, found.unsafe[:-1]), "")
    except OSError:
        return os.path.dirname(path)  # Who creates it is not known.


def has_only_roots_entries(path: str) -> bool:
    """Whether only root can create or replace anything in a socket file's directory."""
    return _is_roots(path, sticky=False)


def _is_roots(path: str, *, sticky: bool) -> bool:
    """Whether the file's directory is root's, and only root may write there. With `sticky`, others
    may, as in /tmp, as long as they cannot replace a file of root's.
    """
    try:
        with walk.find(path, plain=1) as found:
            directory = os.fstat(found.parent)
    except OSError:
        return False
    mode = directory.st_mode
    kept = sticky and mode & stat.S_ISVTX
    return directory.st_uid == 0 and bool(kept or not mode & _OTHERS_WRITE)


def removed_at_stop(facts: Facts, paths: Sequence[str]) -> list[str]:
    """The paths in RuntimeDirectory=, which systemd removes when the service stops."""
    service = facts.service
    if service.get("RuntimeDirectoryPreserve") == "yes":
        return []
    below = tuple(f"{facts.runtime}/{name}/" for name in service.words("RuntimeDirectory"))
    return [path for path in paths if os.path.normpath(path).startswith(below)]


def removers(facts: Facts, paths: Sequence[str]) -> dict[str, list[str]]:
    """Commands around a start that remove one of the socket files, by setting, as written.

    Programs leave their file behind, so people remove it before the start; now it is systemd's.
    """
    service = facts.service
    settings = service.files.get("Service", {})
    found: dict[str, list[str]] = {}
    for key in AROUND_START:
        for line in settings.get(key, []):
            text = " ".join(expand([line.replace("%t", facts.runtime)], service.name, {}))
            if _removes(text, paths):
                found.setdefault(key, []).append(line)
    return found


def _removes(command: str, paths: Sequence[str]) -> bool:
    words = [word for word in _SEPARATORS.split(command) if word]
    if not any(os.path.basename(word.lstrip("-+!:@")) in ("rm", "unlink") for word in words):
        return False
    patterns = [os.path.normpath(word) for word in words if word.startswith("/")]
    return any(
        fnmatch.fnmatch(path, pattern) or path.startswith(f"{pattern}/")
        for path in paths
        for pattern in patterns
    )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
