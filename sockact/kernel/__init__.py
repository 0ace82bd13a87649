"""Linux interfaces, one file each, with the man page and the kernel version.

Never decides when to use one.
"""
