"""Names of the configuration files that have served: NUMBER, and the suffix of the file."""

from __future__ import annotations

DIRECTORY = "config"
"""Below the state directory."""
MOST = 50
"""Number of files that are kept, the newest ones."""
MOST_ENTRIES = 10_000
"""Maximum number of entries of the directory, in which the program may write, too."""
_DIGITS = 9


def numbered(names: list[str]) -> dict[int, str]:
    """Number → file name, oldest first. Names of another form are left out."""
    found = {}
    for name in names:
        number, dot, ending = name.partition(".")
        if dot and ending.isalpha() and number.isascii() and number.isdecimal():
            if len(number) <= _DIGITS and number == str(int(number)):
                found[int(number)] = name
    return dict(sorted(found.items()))
