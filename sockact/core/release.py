"""Releases: the link to the deployed one, followed once per generation, and its version."""

from __future__ import annotations

LONGEST_VERSION = 200
"""In characters."""


def pinned(word: str, link: str, target: str) -> str:
    """Replace the link by its target in a path through the link; other words are unchanged."""
    if word == link or word.startswith(f"{link}/"):
        return target + word[len(link) :]
    return word


def tidy(version: str) -> str:
    """A version as it can be shown anywhere: printable, and of limited length."""
    text = "".join(letter if letter.isprintable() else "?" for letter in version.strip())
    return text[:LONGEST_VERSION]
