"""The text of the trial unit: the service's own settings, so that the program has the same user,
directories and sandbox, and what the drop-in of a wrap changes. docs/wrap.md.

Reads directories, writes nothing.

systemd, as root, looks up the sources of BindPaths= when the trial starts, and follows links. So
nothing is bound that anybody else could replace: of a directory to which the service's user may
write, the directory itself is bound elsewhere, and a shell, as that user, makes links to its
entries before it becomes sockact. Not in ExecStartPre=: each process of a unit has its own mounts.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from sockact.core import numbers
from sockact.core.matching import Address, Family
from sockact.trust import files
from sockact.units import socket_files, unitfile
from sockact.units.render import service_units
from sockact.units.unitfile import Setting
from sockact.units.wrap import drop_in
from sockact.units.wrap.service_files import BESIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.units.facts import Facts
    from sockact.units.wrap.drop_in import Wrap

# What is not of the program's environment: when it starts and ends, and who is told.
_OTHERS = re.compile(
    r"Exec(Start|Stop|Reload|Condition)|Type$|Notify|Restart|Watchdog|FileDescriptorStore|PIDFile|"
    r"BusName|Sockets|RemainAfterExit|Kill|SendSIG|FinalKill|Timeout|RuntimeMax|RuntimeDirectoryP|"
    r"RuntimeRandomizedExtra|StandardOutput|StandardError|OOMPolicy|RootDirectoryStartOnly|USB"
)
_PLAIN = re.compile(r"[\w.@+-]+", re.ASCII)
_ENTRIES = 100
"""How many entries a directory with a socket file may have."""


def render(
    facts: Facts, wrap: Wrap, addresses: Sequence[Address], options: tuple[str, ...], text: str
) -> str:
    """The trial unit; empty if there can be none. `options` are those of `sockact run` that are
    about a start, `text` is what `systemctl cat` prints for the service.
    """
    if facts.service.get("DynamicUser") == "yes" and not _dynamic_user(facts):
        return ""  # It would be another user, and the first one's directories would become its own.
    paths = service_units.unix_paths(tuple(addresses))
    if wrap.native or any(one.family is not Family.UNIX for one in addresses):
        sockets, shown, script = [Setting("Sockets", " ".join(wrap.sockets))], [], ""
    elif wrap.user_unit or len(paths) < len(addresses):
        return ""  # No mount namespaces without privileges; an abstract name is taken.
    else:
        hidden = _hide(paths, f"%t/sockact-trial/{BESIDE.format(wrap.name)}")
        if hidden is None:
            return ""
        (sockets, script), shown = hidden, paths
        if script and facts.service.get("NoExecPaths"):
            return ""  # Perhaps also of the shell.
        options = (*options, *(word for path in paths for word in ("--listen", path)))
    tried = replace(wrap, options=options)
    lines = ["[Unit]", f"Description=Trial of {wrap.name} by `sockact wrap`"]
    lines += [f"JoinsNamespaceOf={facts.service.name}", "", "[Service]"]
    lines += [f"{key}={value}" for key, value in _own(text, shown)]
    lines += map(str, [*_user(facts), *_life(facts, tried, script), *_directories(wrap)])
    lines += map(str, [*drop_in.confinement(facts, tried), *sockets])
    # As they are in the service itself.
    named = [unitfile.specifiers(line, facts.service.name, percent="%%") for line in lines]
    return "\n".join([*named, ""])


def needs_listener(text: str) -> bool:
    """Whether the trial is given a listener of the .socket unit."""
    return "\nSockets=" in text


def _own(text: str, hidden: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The settings of the service that stay. `hidden`: socket files that the trial does not see,
    which systemd would show again with a RuntimeDirectory= above.
    """
    named: list[str] = []
    for section, key, value in unitfile.assignments(text):
        if section != "Service" or _OTHERS.match(key):
            continue
        if key == "RuntimeDirectory" and hidden:
            words = unitfile.settled(value)
            if value and not words:
                continue
            named = [*named, *words] if words else []
            value = " ".join(word for word in words if not _above(word, hidden))
        yield key, value
    if named:
        paths = ":".join(f"%t/{word}" for word in named)
        yield "Environment", f"RUNTIME_DIRECTORY={paths}:%t/sockact-trial"


def _above(word: str, paths: Sequence[str]) -> bool:
    return any(path.startswith(f"/run/{word}/") for path in paths)


def _dynamic_user(facts: Facts) -> str:
    name = facts.service.name.removesuffix(".service")
    own = facts.service.files.get("Service", {}).get("User") or [""]
    return own[-1] or (name if service_units.is_user_name(name) else "")


def _user(facts: Facts) -> Iterator[Setting]:
    if facts.service.get("DynamicUser") == "yes":
        yield Setting("User", _dynamic_user(facts))


def _life(facts: Facts, wrap: Wrap, script: str) -> Iterator[Setting]:
    yield Setting("Type", "notify")
    yield Setting("NotifyAccess", "main")
    line = drop_in.start_line(facts, wrap)
    yield Setting("ExecStart", _after(script, line) if script else line)
    yield Setting("KillMode", "mixed")
    yield Setting("TimeoutStartSec", numbers.span(drop_in.start_limit(facts, wrap)))
    yield Setting("TimeoutStopSec", numbers.span(drop_in.stop_limit(wrap)))
    # A file of the service would hide why the program does not start.
    yield Setting("StandardOutput", "journal")
    yield Setting("StandardError", "journal")


def _after(script: str, line: str) -> str:
    """The command line, executed by a shell after a script without quotes and dollars."""
    words = line.removeprefix(":")
    # After the sign, systemd leaves dollars alone.
    sign, dollar = ("", "$$") if words == line else (":", "$")
    return f"{sign}/bin/sh -c '{script}; exec \"{dollar}@\"' sh {words}"


def _directories(wrap: Wrap) -> Iterator[Setting]:
    yield Setting("RuntimeDirectory", f"sockact-trial/{wrap.name}")
    # The service's own directories are the running program's, too.
    yield Setting("RuntimeDirectoryPreserve", "yes")
    for variable in ("SOCKACT_RUNTIME_DIR", "SOCKACT_STATE_DIR"):
        yield Setting("Environment", f"{variable}=%t/sockact-trial")


def _hide(paths: Sequence[str], beside: str) -> tuple[list[Setting], str] | None:
    """An empty directory in place of each that has a socket file, with all of its other entries, so
    that the trial listens at the same path without touching the file. None if that is impossible.

    `beside` is a directory, of root alone, below which directories of others are bound; the result
    has a script that makes links there.
    """
    found: list[Setting] = []
    scripts: list[str] = []
    for directory, path in {os.path.dirname(one): one for one in paths}.items():
        if socket_files.redirectable_at(path) or not _PLAIN.fullmatch(directory.replace("/", "")):
            return None
        try:
            entries = files.names_in(directory, _ENTRIES, plain=0)
        except OSError:
            return None
        found.append(Setting("TemporaryFileSystem", f"{directory}:mode=1777"))
        whole = {name: f"{directory}/{name}" for name in sorted(entries) if _PLAIN.fullmatch(name)}
        shown = {name: one for name, one in whole.items() if one not in paths}
        if socket_files.has_only_roots_entries(path):
            own = [one for one in shown.values() if not os.path.islink(one)]
            found += [Setting("BindPaths", f"-{one}") for one in own]
        elif shown:
            there = f"{beside}/{len(scripts)}"
            found.append(Setting("BindPaths", f"{directory}:{there}"))
            scripts.append(
                " ".join(("ln -s --", *(f"{there}/{name}" for name in shown), directory))
            )
    return found, "; ".join(scripts)
