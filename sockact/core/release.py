"""One release for all of a generation, whatever becomes of the link to it meanwhile; its name."""

from __future__ import annotations

LONGEST_VERSION = 200


def pinned(word: str, link: str, target: str) -> str:
    """A path through the link, as a path through its target; other words as they are."""
    if word == link or word.startswith(f"{link}/"):
        return target + word[len(link) :]
    return word


def tidy(version: str) -> str:
    """What somebody calls a release, as it can be shown anywhere."""
    text = "".join(letter if letter.isprintable() else "?" for letter in version.strip())
    return text[:LONGEST_VERSION]
