"""The signal by which a service stops its program: KillSignal=, or a kill(1) in ExecStop=. Pure."""

from __future__ import annotations

import os
import re
import signal

from sockact.units import unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.units.facts import Unit

_KILLERS = ("kill", "start-stop-daemon")
_SIGNAL_OPTIONS = ("-s", "-n", "--signal")
_KILL_OPTION = re.compile(r"-([A-Za-z]{2,}\d?|\d+)")


def find(service: Unit) -> int:
    """The signal that stops the program; 0 if it is SIGTERM."""
    words = _exec_stop(service)
    return _number(_sent(words) if is_in_exec_stop(service) else service.get("KillSignal"))


def is_in_exec_stop(service: Unit) -> bool:
    """Whether ExecStop= only sends a signal."""
    words = _exec_stop(service)
    return bool(words) and os.path.basename(words[0]) in _KILLERS


def _exec_stop(service: Unit) -> list[str]:
    lines = service.files.get("Service", {}).get("ExecStop", [])
    return unitfile.program(unitfile.settled(lines[-1])) if lines else []


def _sent(words: list[str]) -> str:
    """The signal on the command line of kill(1) or start-stop-daemon(8); empty if none is named."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if option in _SIGNAL_OPTIONS:
            return value or following
        if os.path.basename(words[0]) == "kill" and (found := _KILL_OPTION.fullmatch(word)):
            return found[1]
    return ""


def _number(text: str) -> int:
    name = text.upper()
    long = name if name.startswith("SIG") else f"SIG{name}"
    try:
        found = signal.Signals(int(name)) if name.isdecimal() else signal.Signals[long]
    except (KeyError, ValueError):
        return 0
    # The last two cannot be caught, so they ask for nothing.
    return 0 if found in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP) else int(found)
