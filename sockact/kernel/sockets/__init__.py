"""Linux interfaces of sockets, one file each.

Never decides which socket to use.
"""

__all__ = (
    "admission",
    "listener",
    "multicast",
    "own_port",
    "received",
    "reuseport",
    "sock_diag",
    "sockopt",
    "tcp_destroy",
    "upkeep",
)
