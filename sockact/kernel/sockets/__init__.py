"""Linux interfaces of sockets, one file each.

Never decides which socket to use.
"""

__all__ = ("listener", "received", "sock_diag", "sockopt", "steering", "tcp_destroy", "upkeep")
