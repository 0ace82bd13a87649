"""Files of a service that have changed since it was started, so that only a restart applies them:
unit files and drop-ins (systemd.unit(5)), and EnvironmentFile= (systemd.exec(5)).

Only looks at the files' times. Asks no systemd: `sockact reload` looks, too.
"""

from __future__ import annotations

import glob
import os
import time

from sockact.kernel import procfs
from sockact.units import unit_facts, unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SYSTEM = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
_USER = ("/etc/systemd/user", "/run/systemd/user", "/usr/lib/systemd/user")
# What sockact writes while the service is running, about its stop.
_OWN = "zz-sockact.conf"
_LARGEST = 1 << 20
_MOST = 100
# Seconds: files and processes are timed by different clocks.
_MARGIN = 2.0


def newer(paths: Iterable[str], started: float) -> list[str]:
    """Those of the files that changed after a time, in seconds since 1970."""
    found = []
    for path in dict.fromkeys(paths):
        try:
            changed = os.stat(path).st_mtime
        except (OSError, ValueError):
            continue
        if changed > started + _MARGIN and os.path.basename(path) != _OWN:
            found.append(path)
    return found


def environment_files(patterns: Sequence[str]) -> list[str]:
    """The files that lines of EnvironmentFile= name."""
    texts = [line.lstrip("-") for line in patterns[:_MOST]]
    return [path for text in texts for path in sorted(glob.glob(text))[:_MOST]]


def of_process(pid: int) -> tuple[str, bool, list[str]]:
    """The unit whose main process this is, whether it is a user's, and its changed files."""
    unit, user = unit_facts.unit_of(pid)
    started = _started(pid) if unit else None
    if started is None:
        return unit, user, []
    paths = list(_files(unit, user))
    text = "\n".join(map(_read, paths))
    lines = unitfile.parse(text).get("Service", {}).get("EnvironmentFile", [])
    return unit, user, newer([*paths, *environment_files(lines)], started)


def _started(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None if it has ended."""
    try:
        found = procfs.process(pid)
    except OSError:
        return None
    if found is None:
        return None
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - uptime + found.started / os.sysconf("SC_CLK_TCK")


def _files(unit: str, user: bool) -> Iterator[str]:
    """The unit's file and its drop-ins, in the order in which systemd reads them."""
    directories: tuple[str, ...] = _SYSTEM
    if user:
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        directories = (os.path.join(home, "systemd/user"), *_USER)
    names = [unit]
    if "@" in unit:
        names.append(f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}")
    candidates = [os.path.join(where, name) for name in names for where in directories]
    if there := next(filter(os.path.isfile, candidates), ""):
        yield there
    found = {
        os.path.basename(path): path
        for where in reversed(directories)
        for name in reversed(names)
        for path in glob.glob(os.path.join(glob.escape(os.path.join(where, f"{name}.d")), "*.conf"))
    }
    yield from (found[name] for name in sorted(found)[:_MOST])


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError:
        return ""
