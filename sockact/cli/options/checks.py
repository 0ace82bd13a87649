"""What the values of options have to be. Free of click: raises ValueError with the message.

What few command lines need is imported within a function: `sockact run` waits for this module.
"""

from __future__ import annotations

import os
import signal

from sockact.core.numbers import LONGEST, seconds
from sockact.supervisor.control import paths

_LONGEST_IDENTIFIER = 64
_OUTPUTS = ("/dev/stdout", "/dev/stderr")


def time(text: str) -> float:
    """A time span in seconds, short enough for the supervisor to wait for."""
    span = float("inf") if text.strip() == "infinity" else seconds(text)
    if span > LONGEST:
        raise ValueError(f"{text!r} is too long; the maximum is 7d")
    return span


def some_time(text: str) -> float:
    """A time span that is not zero."""
    span = time(text)
    if span == 0:
        raise ValueError(f"{text!r} is too short; use a time greater than 0")
    return span


def pause(text: str) -> float:
    """The longest time of a pause."""
    from sockact.supervisor.control.interface import LONGEST_PAUSE

    span = some_time(text)
    if span > LONGEST_PAUSE:
        raise ValueError(f"{text!r} is too long; the maximum is {LONGEST_PAUSE / 60:g}min")
    return span


def canary(text: str) -> str:
    """The steps of a canary; empty for none."""
    if text:
        from sockact.core.canary import schedule

        schedule.parse(text)
    return text


def judge(text: str) -> str:
    """Who is asked about a canary."""
    from sockact.core.canary import judges

    found = judges.parse(text)
    if isinstance(found, judges.Command):
        import shlex

        shlex.split(found.line)
    return text


def service_name(text: str) -> str:
    """The name of a service."""
    if not paths.valid_name(text):
        raise ValueError(
            f"{text!r} is not a valid service name; use up to {paths.NAME_LIMIT} characters of "
            f"A-Z a-z 0-9 : _ . @ - that do not start with a dot or a dash"
        )
    return text


def identifier(text: str) -> str:
    """A journal identifier, to which `-GENERATION` is appended."""
    valid = text.isascii() and text.isprintable() and not {*text} & {*" /:"}
    if not valid or len(text) > _LONGEST_IDENTIFIER:
        raise ValueError(
            f"{text!r} is not a valid identifier; use up to {_LONGEST_IDENTIFIER} printable ASCII "
            f"characters without spaces, colons and slashes"
        )
    return text


def catchable_signal(text: str) -> int:
    """A signal that a program can catch, by name or number."""
    name = text.upper()
    try:
        if name.isdigit():
            found = signal.Signals(int(name))
        else:
            found = signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except (KeyError, ValueError):
        raise ValueError(f"{text!r} is not a signal; use a name such as SIGINT") from None
    if found in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError(f"{found.name} cannot be caught; use SIGINT, for example")
    return int(found)


def log_file(text: str) -> str:
    """The absolute path of a log file, symbolic links unresolved."""
    path = os.path.abspath(text)
    if not text:
        raise ValueError("'' is not a path; use the path of a file")
    if text.endswith("/") or os.path.isdir(path):
        raise ValueError(f"{text!r} is a directory; use the path of a file")
    if not path.isprintable():
        raise ValueError(f"{text!r} contains unprintable characters")
    if text == "-" or path in _OUTPUTS or path.startswith(("/dev/fd/", "/proc/")):
        raise ValueError(
            f"{text} is not a log file; leave the option out to keep sockact's own output"
        )
    return path


def watched_path(text: str) -> str:
    """A path to watch, made absolute; it need not exist."""
    if "\0" in text or not text:
        raise ValueError(f"{text!r} is not a path")
    path = os.path.join(logical(None), text)
    if os.path.normpath(path).strip("/") == "":
        raise ValueError(
            f"{path!r} is the root directory, which is too large to watch; use a directory of the "
            f"program"
        )
    return path


def file_pattern(text: str) -> str:
    """The name of files and directories, with * as a wildcard."""
    if not text.strip("*") or "/" in text:
        raise ValueError(f"{text!r} is not a file name; use a name such as '*.cache'")
    return text


def logical(directory: str | None) -> str:
    """The absolute path, symbolic links unresolved: each reload follows a release link anew."""
    here = os.environ.get("PWD", "")
    try:
        if not os.path.isabs(here) or not os.path.samefile(here, "."):
            here = os.getcwd()
    except OSError:
        here = os.getcwd()
    return os.path.normpath(os.path.join(here, directory)) if directory else here
