"""Kinds of messages to the operator: SOCKACT_EVENT= of docs/journal.md, and what decides on the
MESSAGE_ID= (systemd/journal.py).
"""

from __future__ import annotations

from enum import StrEnum


class News(StrEnum):
    """What a message is about."""

    NOTE = "note"
    """Anything else."""
    SERVES = "serves"
    SERVES_AGAIN = "serves_again"
    RELOAD_FAILED = "reload_failed"
    ROLLBACK_FAILED = "rollback_failed"
    FAILED = "failed"
    """A generation failed outside of a reload: it crashed, say."""
    ENDED = "ended"
    """The program exited by itself, and the service stops."""
    DRAINED = "drained"
    SIGNALLED = "signalled"
    """A generation was sent its stop signal, or SIGKILL; the message says why."""
    GATE = "gate"
    """A generation cannot stop, or resume, accepting connections."""
    STUCK = "stuck"
    """Clients are not served although the generation is running."""
    ADAPTER = "adapter"
    """An adapter of the shim does not work with the server."""
    UPGRADED = "upgraded"
    """Another version of sockact has taken over in place."""
    UPGRADE_FAILED = "upgrade_failed"
    LOG = "log"
    """A log cannot be written, or lines are missing from it."""
    HOOK = "hook"
    """A hook has failed."""
    LISTENER = "listener"
    """The program has shut down a listener."""
    WARM = "warm"
    """A successor was warmed up, or why it was not."""
    CANARY = "canary"
    """A canary gets another share of the clients, or cannot be judged."""
    MOVED = "moved"
    """Connections have moved to another generation, or why they cannot."""
    PAUSE = "pause"
    """The operator has paused the service, or the pause has ended."""
