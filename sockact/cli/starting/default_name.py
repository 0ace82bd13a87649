"""The name of a service, from the program that it runs."""

from __future__ import annotations

import os

from sockact.supervisor.control import paths


def default_name(command: tuple[str, ...]) -> str:
    """The name of a service that was given none. Raises ValueError."""
    name = os.path.basename(command[0])
    if name.startswith(("python", "pypy")):
        name = _module_of(command[1:]) or name
    if not paths.valid_name(name):
        raise ValueError(f"{name!r} is not a valid service name; choose one with --name")
    return name


def _module_of(arguments: tuple[str, ...]) -> str | None:
    """The MODULE of `python [OPTIONS] -m MODULE`."""
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word in ("-", "--"):
            return None
        if word.startswith("--"):
            if word == "--check-hash-based-pycs":
                next(words, None)
            continue
        for position, letter in enumerate(word[1:], 2):
            if letter == "c":
                return None
            if letter == "m":
                return word[position:] or next(words, None)
            if letter in "WX":
                if not word[position:]:
                    next(words, None)
                break
    return None
