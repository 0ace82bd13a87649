"""The names of the configurations that have served: NUMBER, with the ending of their file."""

from __future__ import annotations

FOLDER = "config"
"""In the state directory."""
MOST = 50
"""So many are kept, the last ones."""
_DIGITS = 9


def numbered(names: list[str]) -> dict[int, str]:
    """Number → file name, from the oldest on; what has another form is left out."""
    found = {}
    for name in names:
        number, dot, ending = name.partition(".")
        if dot and ending.isalpha() and number.isascii() and number.isdecimal():
            if len(number) <= _DIGITS and number == str(int(number)):
                found[int(number)] = name
    return dict(sorted(found.items()))
