"""Errors whose message is for the operator: one line, what happened, to what, what to do now."""

from __future__ import annotations


class OperatorError(Exception):
    """Bad input or a bad environment: reported in one line, exit status 2, never a traceback."""
