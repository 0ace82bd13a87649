"""Socket files: what a path leads to, and who could make it lead elsewhere.

systemd, as root, removes whatever file is in the way of a ListenStream= path before it binds there,
and for SocketUser= it changes the owner of what the path then leads to, through links
(systemd.socket(5)). So a path counts only as far as nobody but root can bend it.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat

from sockact.units.hardening import Setting
from sockact.units.unitfile import command_line, escape_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.units.facts import Facts

_LINKS = 40
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_file(path: str, file: tuple[int, int] | None) -> bool:
    """Is that file of a Unix socket (device and inode, as in sock_diag) at our path?"""
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(fd)
        return stat.S_ISSOCK(found.st_mode) and file == (_device(fd), found.st_ino & 0xFFFFFFFF)
    finally:
        os.close(fd)


def _device(fd: int) -> int:
    """Of its file system. st_dev is another number where that has several, as Btrfs does."""
    with open(f"/proc/self/fdinfo/{fd}") as info:
        mount = next(line.split()[1] for line in info if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", errors="surrogateescape") as mounts:
        lines = (line.split(None, 3) for line in mounts)
        major, _, minor = next(fields[2] for fields in lines if fields[0] == mount).partition(":")
    return int(major) << 20 | int(minor)


def rights(path: str) -> tuple[str, str, str] | None:
    """Owner, group and mode of a socket file; None when there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode):
        return None
    return _user(found.st_uid), _group(found.st_gid), f"{found.st_mode & 0o777:04o}"


def owner(paths: Sequence[str], user: str, group: str = "", why: str = "") -> Iterator[Setting]:
    """What gives socket files of a .socket unit to a user, and a group if one is named."""
    if not any(bent_by(path) or not _stays(_way(path)[-1][0]) for path in paths):
        yield Setting("SocketUser", escape_value(user), why)
        if group:
            yield Setting("SocketGroup", escape_value(group))
        return
    for path in paths:
        escape_value(path)
    whom = f"{user}:{group}" if group else user
    because = "Not SocketUser=: whoever owns the folder could put a link there, which it follows"
    command = command_line(("chown", "--no-dereference", "--", whom, *paths))
    yield Setting("ExecStartPost", command, because)


def bent_by(path: str) -> str:
    """A folder on the way to that of a socket file which others than root can change; "": none."""
    return next((folder for folder, entry in _way(path)[:-1] if not _stays(folder, entry)), "")


def _way(path: str) -> list[tuple[str, str]]:
    """Every folder that is looked into on the way to a file, by links too, and what is looked up
    there; its own is the last.
    """
    here, rest = "/", [part for part in path.split("/") if part]
    found = []
    for _ in range(_LINKS + len(rest)):
        following = os.path.join(here, rest.pop(0))
        found.append((here, following))
        if not rest:
            break
        if os.path.islink(following):
            target = os.readlink(following)
            here = "/" if target.startswith("/") else here
            rest = [part for part in target.split("/") if part] + rest
        else:
            here = os.path.normpath(following)
    return found


def _stays(folder: str, entry: str = "") -> bool:
    """Can nobody but root replace this entry of a folder? None: a new file of root's."""
    try:
        found = os.stat(folder)
        owner = os.lstat(entry).st_uid if entry else 0
    except OSError:
        return False  # Whoever makes it.
    if found.st_uid != 0:
        return False
    # In a folder such as /tmp everybody may replace what they own.
    return not found.st_mode & _OTHERS_WRITE or bool(found.st_mode & stat.S_ISVTX and owner == 0)


def go_away(facts: Facts, paths: Sequence[str]) -> list[str]:
    """Those of the paths that systemd removes with the service, with its RuntimeDirectory=."""
    service = facts.service
    if service.get("RuntimeDirectoryPreserve") == "yes":
        return []
    below = tuple(f"{facts.runtime}/{folder}/" for folder in service.words("RuntimeDirectory"))
    return [path for path in paths if os.path.normpath(path).startswith(below)]


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
