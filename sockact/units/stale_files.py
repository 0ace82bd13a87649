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
    from collections.abc import Iterable, Sequence

# In their order of precedence, without those of generators, which write theirs at each
# daemon-reload.
_SYSTEM = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_USER = (
    "{config}/systemd/user.control",
    "{runtime}/systemd/user.control",
    "{runtime}/systemd/transient",
    "{config}/systemd/user",
    "/etc/xdg/systemd/user",
    "/etc/systemd/user",
    "{runtime}/systemd/user",
    "/run/systemd/user",
    "{data}/systemd/user",
    "/usr/local/share/systemd/user",
    "/usr/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
)
# What `systemctl set-property` writes, and applies at once.
_APPLIED = ("/systemd/system.control/", "/systemd/user.control/")
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
        applied = os.path.basename(path) == _OWN or any(part in path for part in _APPLIED)
        if changed > started + _MARGIN and not applied:
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
    paths = files(unit, _user_directories() if user else _SYSTEM)
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


def files(unit: str, directories: Sequence[str]) -> list[str]:
    """The unit's file and its drop-ins, in the order in which systemd reads them.

    `directories`: those with units, in their order of precedence.
    """
    kind = unit.rpartition(".")[2]
    names = [unit]
    if "@" in unit:
        names.append(f"{unit.partition('@')[0]}@.{kind}")
    candidates = [os.path.join(where, name) for name in names for where in directories]
    there = next(filter(os.path.isfile, candidates), None)
    # Of drop-ins with the same name, the last one counts.
    groups = [[f"{kind}.d"], [f"{name}.d" for name in reversed([*names, *_prefixes(unit)])]]
    found = {
        os.path.basename(path): path
        for group in groups
        for where in reversed(directories)
        for name in group
        for path in glob.glob(os.path.join(glob.escape(os.path.join(where, name)), "*.conf"))
    }
    return [*([there] if there else []), *(found[name] for name in sorted(found)[:_MOST])]


def _prefixes(unit: str) -> list[str]:
    """Of a-b-c.service: a-b-.service and a-.service."""
    name, _, kind = unit.rpartition(".")
    words = name.partition("@")[0].split("-")
    return [f"{'-'.join(words[:number])}-.{kind}" for number in range(len(words) - 1, 0, -1)]


def _user_directories() -> list[str]:
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return [where.format(config=config, data=data, runtime=runtime) for where in _USER]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError:
        return ""
