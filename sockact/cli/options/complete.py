"""Completions of a command line: names of services, units, signals, files.

Only reads directories that exist anyway. Must be quick, and silent whatever it finds.
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
# systemd.unit(5), and the names of drop-in directories.
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+")
_SYSTEM = tuple(
    f"{base}/systemd/system" for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
)
_USER = tuple(f"{base}/systemd/user" for base in ("/etc", "/run", "/usr/local/lib", "/usr/lib"))
# As service_files.DROP_IN, without what that loads.
_DROP_IN = "zz-sockact.conf"


def names(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Running services."""
    try:
        found = set(paths.running())
    except paths.RuntimeDirError:
        found = set()
    if not os.environ.get("SOCKACT_RUNTIME_DIR"):
        # Under sudo, the shell asks as the user, who cannot see the locks.
        base = paths.SYSTEM_BASE
        found |= {n for n in _entries(base) if os.path.lexists(f"{base}/{n}/{paths.LOCK}")}
    return _beginning(begun, filter(paths.valid_name, found))


def units(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Services with a unit file, without templates."""
    folders = _folders(context)
    found = {name for folder in folders for name in _entries(folder) if name.endswith(_ENDING)}
    return _beginning(begun, (name for name in found if not name.endswith(f"@{_ENDING}")))


def wrapped(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Services with a drop-in of `sockact wrap`."""
    folder = _folders(context)[0]
    found = {name.removesuffix(".d") for name in _entries(folder) if name.endswith(f"{_ENDING}.d")}
    return _beginning(
        begun, (name for name in found if os.path.exists(f"{folder}/{name}.d/{_DROP_IN}"))
    )


def signals(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Signals that a program can catch."""
    found = {one.name for one in signal.Signals} - {"SIGKILL", "SIGSTOP", "SIGRTMIN", "SIGRTMAX"}
    return _beginning(begun.upper(), found)


def one_of(*words: str) -> Completer:
    """A completion that offers these words."""
    return lambda _context, _parameter, begun: _beginning(begun, words)


def program(
    _context: click.Context, _parameter: click.Parameter, begun: str
) -> list[CompletionItem]:
    """Files, completed by the shell itself."""
    from click.shell_completion import CompletionItem  # Loaded only for a completion.

    return [CompletionItem(begun, type="file")]


def _folders(context: click.Context) -> tuple[str, ...]:
    """Unit directories; the administrator's or the user's own comes first."""
    if not context.params.get("user_unit"):
        return _SYSTEM
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return (f"{base}/systemd/user", *_USER)


def _entries(folder: str) -> list[str]:
    """Entries that can name a unit or a service, with nothing that a shell would act on."""
    try:
        return [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except OSError:
        return []


def _beginning(begun: str, words: Iterable[str]) -> list[str]:
    return sorted(word for word in words if word.startswith(begun))
