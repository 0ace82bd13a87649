"""Files that `sockact wrap` has written, and whether somebody has changed them since."""

from __future__ import annotations

import hashlib
import re

_HEAD = "# Written by `sockact wrap`, taken back by `sockact unwrap`. "
_MARK = re.compile(re.escape(_HEAD) + r"sha256=([0-9a-f]{64})\n")


def marked(text: str) -> str:
    """The text, with our mark in front."""
    return f"{_HEAD}sha256={_sum(text)}\n{text}"


def is_ours(text: str) -> bool:
    """Has `marked` made it, whatever was changed since?"""
    return _MARK.match(text) is not None


def is_unchanged(text: str) -> bool:
    """Is it as `marked` made it?"""
    found = _MARK.match(text)
    return found is not None and found[1] == _sum(text[found.end() :])


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
