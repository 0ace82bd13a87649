"""One release for all of a generation, whatever becomes of the symbolic link to it meanwhile."""

from __future__ import annotations


def pinned(word: str, link: str, target: str) -> str:
    """A path through the link, as a path through its target; other words as they are."""
    if word == link or word.startswith(f"{link}/"):
        return target + word[len(link) :]
    return word
