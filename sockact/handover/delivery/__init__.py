"""Delivery: an open connection is put into a generation, so that its own accept() returns it. See
docs/delivery.md.

Never decides which connections move, nor where to.
"""

__all__ = ("accepts", "channel", "delivery", "parked")
