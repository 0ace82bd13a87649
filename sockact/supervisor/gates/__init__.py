"""Opens and closes the gates of generations, and counts the connections of those that drain.
Never decides when.
"""

__all__ = ("decoys", "drain_census", "gates", "listener_watch", "websockets")
