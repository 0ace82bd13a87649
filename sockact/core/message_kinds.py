"""The kinds of what the operator reads: each has a MESSAGE_ID in the journal (docs/journal.md)."""

from __future__ import annotations

from enum import StrEnum


class News(StrEnum):
    """What a line is about."""

    NOTE = "note"
    """Anything that no program would wait for."""
    SERVES = "serves"
    SERVES_AGAIN = "serves_again"
    RELOAD_FAILED = "reload_failed"
    ROLLBACK_FAILED = "rollback_failed"
    FAILED = "failed"
    """A generation came to nothing outside of a reload: it crashed, say."""
    ENDED = "ended"
    """The program ended by itself, and the service with it."""
    DRAINED = "drained"
    SIGNALLED = "signalled"
    """A generation was sent its stop signal, or SIGKILL, for the reason that is given."""
    GATE = "gate"
    """A gate cannot be moved."""
    STUCK = "stuck"
    """Clients are not served, although the generation runs."""
    ADAPTER = "adapter"
    """An adapter of the shim does not fit the server."""
    UPGRADED = "upgraded"
    """Another version of sockact has taken over, in place."""
    UPGRADE_FAILED = "upgrade_failed"
    LOG = "log"
    """A log cannot be written, or lines are missing from it."""
    HOOK = "hook"
    """A hook has failed."""
    LISTENER = "listener"
    """The program has shut a listener down."""
