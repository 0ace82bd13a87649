"""What the rendered units forbid to the service: systemd.exec(5), docs/systemd.md.

`systemd-analyze security` rates it; a test says how. Nothing here may break a server that writes
to its StateDirectory= and to /tmp, nor what the supervisor needs of the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

CALLS = ("seccomp", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "kcmp")
"""The system calls that the supervisor needs beyond those of any server."""

FAMILIES = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")


@dataclass(frozen=True)
class Setting:
    """One line of a unit file, and what has to be known about it."""

    key: str
    value: str
    why: str = ""


_FOLDERS = (
    Setting(
        "ProtectSystem",
        "strict",
        "Everything is read-only but the directories above and /tmp. What else the program writes "
        "to (uploads, an SQLite file) needs a line like ReadWritePaths=/srv/myapp/data",
    ),
    Setting("PrivateDevices", "yes"),
    Setting("ProtectClock", "yes"),
    Setting("ProtectControlGroups", "yes"),
    Setting("ProtectHostname", "yes"),
    Setting("ProtectKernelLogs", "yes"),
    Setting("ProtectKernelModules", "yes"),
    Setting("ProtectKernelTunables", "yes"),
    Setting(
        "ProtectProc",
        "invisible",
        "The supervisor reads /proc of its own user's processes, which stay visible. Not "
        "ProcSubset=pid: it hides /proc/net, /proc/meminfo and /proc/stat, which programs read",
    ),
    Setting("CapabilityBoundingSet", ""),
)

_KERNEL = (
    Setting(
        "NoNewPrivileges",
        "yes",
        "The seccomp filter that adopts the program's bind() needs it anyway. The program cannot "
        "run sudo, or another set-user-ID program",
    ),
    Setting("LockPersonality", "yes"),
    Setting("RestrictNamespaces", "yes"),
    Setting("RestrictRealtime", "yes"),
    Setting("RestrictSUIDSGID", "yes"),
    Setting(
        "RestrictAddressFamilies",
        " ".join(FAMILIES),
        "AF_NETLINK is how the supervisor counts connections (sock_diag)",
    ),
    Setting("SystemCallArchitectures", "native"),
    Setting(
        "SystemCallFilter",
        "@system-service seccomp pidfd_getfd kcmp",
        "seccomp adopts the program's bind(), pidfd_getfd and kcmp move its epoll entries. What "
        "is not in the list fails with EPERM, instead of killing the program",
    ),
    Setting("SystemCallErrorNumber", "EPERM"),
)


def settings(
    *, user_unit: bool, jit: bool, home: bool, private_tmp: bool
) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
    """What is forbidden of the file system and the kernel, and what of the system calls.

    `jit`: the program makes code at run time; `home`: it lives below /home; `private_tmp`: nobody
    has to meet it in /tmp. A --user manager can only restrict system calls: it has no rights to
    make namespaces or to drop capabilities (before it would need PrivateUsers=yes, which takes
    the user's groups away).
    """
    memory = Setting(
        "MemoryDenyWriteExecute",
        "no" if jit else "yes",
        "No code is made at run time: programs with a just-in-time compiler (Node, Java, PyPy, "
        "numba) need no here",
    )
    calls = (*_KERNEL, memory)
    if user_unit:
        return (), calls
    protect_home = (
        Setting("ProtectHome", "read-only", "The program is below a home directory")
        if home
        else Setting("ProtectHome", "yes")
    )
    tmp = (
        Setting("PrivateTmp", "yes", "Its /tmp and /var/tmp are its own, and empty at each start")
        if private_tmp
        else Setting("PrivateTmp", "no", "Its socket is there, where its clients look for it")
    )
    return (*_FOLDERS[:1], protect_home, tmp, *_FOLDERS[1:]), calls
