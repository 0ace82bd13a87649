"""Opens and closes the gates of generations, and counts the connections of those that drain.
Never decides when.
"""

__all__ = (
    "admission_gates",
    "closings",
    "decoys",
    "drain_census",
    "gates",
    "lane_gates",
    "lending",
    "listener_watch",
    "shim_orders",
    "websockets",
)
