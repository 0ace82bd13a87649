"""Unit files and the running systemd, as the command line sees them: reading, rendering, checking
and wrapping. Never loaded by the supervisor.

The rooms build on each other: check → wrap → render → the modules of this directory.
"""

__all__ = (
    "facts",
    "listening_sockets",
    "manager",
    "only_one",
    "output_files",
    "program_addresses",
    "sandbox",
    "socket_files",
    "stale_files",
    "timeouts",
    "unit_facts",
    "unit_limits",
    "unitfile",
)
