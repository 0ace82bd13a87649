"""Whether the user of a service can use what its units name, by owner, group and mode."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """Whom the service runs as. `name` is empty for a dynamic user, which owns nothing yet."""

    name: str
    uid: int = -1
    groups: tuple[int, ...] = ()


def account(user: str) -> Account:
    """The account of a user, which exists unless the name is empty."""
    if not user:
        return Account("")
    import pwd

    found = pwd.getpwnam(user)
    return Account(user, found.pw_uid, tuple(os.getgrouplist(user, found.pw_gid)))


def problem(path: str, who: Account, wanted: int = os.R_OK) -> str:
    """Why the user cannot use the path, with the remedy; empty if it can. `wanted` is of access(2).

    Access control lists may allow more, so this is only a warning.
    """
    if who.uid == 0:
        return ""
    for directory in _above(path):
        if _denies(directory, who, os.X_OK):
            return _explain(path, directory, who, "x")
    if _denies(path, who, wanted):
        return _explain(path, path, who, "rx" if wanted & os.X_OK else "r")
    return ""


def _above(path: str) -> list[str]:
    """The directories that are searched for it, also through its links, from / down."""
    found: dict[str, None] = {}
    for one in (os.path.abspath(path), os.path.realpath(path)):
        parts = one.split("/")[1:-1]
        found |= {"/" + "/".join(parts[:length]): None for length in range(1, len(parts) + 1)}
    return list(found)


def _denies(path: str, who: Account, wanted: int) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    shift = 6 if found.st_uid == who.uid else 3 if found.st_gid in who.groups else 0
    return found.st_mode >> shift & wanted != wanted


def _explain(path: str, where: str, who: Account, rights: str) -> str:
    mode = stat.filemode(os.stat(where).st_mode)
    user = f"user {who.name}" if who.name else "its own user"
    run = f"`chmod o+{rights} {where}`"
    if who.name and who.groups:
        run = f"`chgrp {who.name} {where} && chmod g+{rights} {where}`"
    via = "" if where == path else f", because of {where}"
    remedy = f"run {run}" if who.name else f"run {run}, or add --user USER"
    return f"the service cannot read {path} as {user}{via} ({mode}); {remedy}"
