"""Errors whose message is for the operator: one line that says what happened and what to do."""

from __future__ import annotations


class OperatorError(Exception):
    """Bad input or a bad environment: shown as one line without a traceback; exit status 2."""
