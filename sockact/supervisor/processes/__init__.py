"""The processes of a service: launching, finding, signalling and talking to them. Never decides
which generation serves.
"""

__all__ = ("environment", "fd_store", "launch", "processes", "shim_calls", "termination")
