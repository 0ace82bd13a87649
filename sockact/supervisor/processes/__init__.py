"""The processes of a service: launching, finding, signalling and talking to them. Never decides
which generation serves.
"""

__all__ = (
    "budget",
    "environment",
    "family",
    "fd_store",
    "guardian",
    "hidden_sockets",
    "last_datagrams",
    "launch",
    "processes",
    "shim_calls",
    "shim_conversation",
    "termination",
)
