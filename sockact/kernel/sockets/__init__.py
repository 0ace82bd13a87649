"""Linux interfaces of sockets, one file each.

Never decides which socket to use.
"""
