"""Linux interfaces of sockets, one file each.

Never decides which socket to use.
"""

__all__ = (
    "admission",
    "listener",
    "own_port",
    "received",
    "reuseport",
    "sock_diag",
    "sockopt",
    "tcp_destroy",
    "upkeep",
)
