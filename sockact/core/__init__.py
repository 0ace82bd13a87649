"""Pure decisions, and the data that they are based on.

Never uses os, a socket or a clock: time is an argument (CLOCK_MONOTONIC in seconds).
"""

__all__ = (
    "backlog",
    "changes",
    "connections",
    "errors",
    "json_data",
    "json_text",
    "matching",
    "message_kinds",
    "numbers",
    "own_connects",
    "record",
    "release",
    "settings",
)
