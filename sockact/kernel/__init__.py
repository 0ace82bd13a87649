"""Linux interfaces, one file each, with the man page and the kernel version.

Never decides when to use one.
"""

__all__ = (
    "bpf",
    "credentials",
    "epoll",
    "epoll_entries",
    "inotify",
    "kcmp",
    "libc",
    "memfd",
    "pidfd",
    "procfs",
    "seccomp",
    "signals",
    "written_files",
)
