"""The control socket: its protocol, its server, its client and its path. Acts on the service only
through the interface `Service`.
"""

__all__ = ("claim", "client", "endpoint", "interface", "paths", "server", "varlink")
