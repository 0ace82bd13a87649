"""What a shell may offer while a command line is written: names, units, files.

Only looks, at files that are there anyway: it must be quick, and say nothing whatever it finds.
"""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from sockact.supervisor.control import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click
    from click.shell_completion import CompletionItem

    Completer = Callable[[click.Context, click.Parameter, str], list[str]]

_ENDING = ".service"
# systemd.unit(5), and the names of drop-in folders.
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+")
_SYSTEM = tuple(
    f"{base}/systemd/system" for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
_USER = tuple(f"{base}/systemd/user" for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
# As service_files.DROP_IN, without what that loads.
_DROP_IN = "zz-sockact.conf"


def names(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The services that run."""
    try:
        found = set(paths.running())
    except paths.RuntimeDirError:
        found = set()
    if not os.environ.get("SOCKACT_RUNTIME_DIR"):
        # Behind sudo, too, where the shell asks as the user, who may not see the locks.
        base = paths.SYSTEM_BASE
        found |= {n for n in _entries(base) if os.path.lexists(f"{base}/{n}/{paths.LOCK}")}
    return _beginning(begun, filter(paths.valid_name, found))


def units(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The services that systemd has a file for; no templates."""
    folders = _folders(context)
    found = {name for folder in folders for name in _entries(folder) if name.endswith(_ENDING)}
    return _beginning(begun, (name for name in found if not name.endswith(f"@{_ENDING}")))


def wrapped(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The services that `sockact wrap` has written a drop-in for."""
    folder = _folders(context)[0]
    found = {name.removesuffix(".d") for name in _entries(folder) if name.endswith(f"{_ENDING}.d")}
    return _beginning(
        begun, (name for name in found if os.path.exists(f"{folder}/{name}.d/{_DROP_IN}"))
    )


def signals(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """The signals that may ask a program to end."""
    found = {one.name for one in signal.Signals} - {"SIGKILL", "SIGSTOP", "SIGRTMIN", "SIGRTMAX"}
    return _beginning(begun.upper(), found)


def one_of(*words: str) -> Completer:
    """These words."""
    return lambda _context, _parameter, begun: _beginning(begun, words)


def program(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """The shell's own completion of files."""
    from click.shell_completion import CompletionItem  # only a completion has loaded it

    return [CompletionItem(begun, type="file")]


def _folders(context: click.Context) -> tuple[str, ...]:
    """Where units are, the administrator's or the user's own first."""
    if not context.params.get("user_unit"):
        return _SYSTEM
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return (f"{base}/systemd/user", *_USER)


def _entries(folder: str) -> list[str]:
    """Those that can be names of units or services: nothing that a shell would act on."""
    try:
        return [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except OSError:
        return []


def _beginning(begun: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(begun))
