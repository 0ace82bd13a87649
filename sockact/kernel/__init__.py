"""Linux interfaces, one file each: typed, tiny, no policy. Every file names its man page and
kernel version.
"""
