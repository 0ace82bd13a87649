"""Linux interfaces, one file each, with the man page and the kernel version.

Never decides when to use one.
"""

__all__ = (
    "bpf",
    "credentials",
    "epoll",
    "helper",
    "inotify",
    "libc",
    "looks",
    "memfd",
    "pidfd",
    "procfs",
    "seccomp",
    "signals",
    "waits",
)
