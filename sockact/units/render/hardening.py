"""The sandbox of the rendered services: systemd.exec(5), docs/systemd.md.

A test compares it with `systemd-analyze security`. Nothing here may break a server that writes only
to its StateDirectory= and to /tmp, nor the kernel interfaces that the supervisor needs.
"""

from __future__ import annotations

from sockact.units.sandbox import FAMILIES
from sockact.units.unitfile import Setting

_FILES = (
    Setting(
        "ProtectSystem",
        "strict",
        "The file system is read-only except for the directories above and /tmp. If the program "
        "writes elsewhere (uploads, an SQLite file), add ReadWritePaths=/srv/myapp/data",
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
        "The supervisor needs only the processes of its own user in /proc, which stay visible. Not "
        "ProcSubset=pid: it hides /proc/net, /proc/meminfo and /proc/stat, which programs read",
    ),
    Setting("CapabilityBoundingSet", ""),
)

_KERNEL = (
    Setting(
        "NoNewPrivileges",
        "yes",
        "Required by the seccomp filter that intercepts the program's bind(). The program cannot "
        "run sudo or other set-user-ID programs",
    ),
    Setting("LockPersonality", "yes"),
    Setting("RestrictNamespaces", "yes"),
    Setting("RestrictRealtime", "yes"),
    Setting("RestrictSUIDSGID", "yes"),
    Setting(
        "RestrictAddressFamilies",
        " ".join(FAMILIES),
        "The supervisor counts connections through AF_NETLINK (sock_diag)",
    ),
    Setting("SystemCallArchitectures", "native"),
    Setting(
        "SystemCallFilter",
        "@system-service seccomp pidfd_getfd kcmp",
        "seccomp intercepts the program's bind(), pidfd_getfd and kcmp read its epoll instances. "
        "Other system calls fail with EPERM instead of killing the program",
    ),
    Setting("SystemCallErrorNumber", "EPERM"),
)


def settings(
    *, user_unit: bool, jit: bool, home: bool, private_tmp: bool
) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
    """Settings that restrict files and kernel interfaces, and settings that restrict system calls.

    `jit`: the program generates code at run time; `home`: it is below /home; `private_tmp`: it
    shares no files in /tmp with others. A --user manager can only restrict system calls: to create
    namespaces or drop capabilities it would need PrivateUsers=yes, which removes the user's groups.
    """
    memory = Setting(
        "MemoryDenyWriteExecute",
        "no" if jit else "yes",
        "Forbids code generation at run time. Programs with a just-in-time compiler (Node, Java, "
        'PyPy, numba) need "no"',
    )
    calls = (*_KERNEL, memory)
    if user_unit:
        return (), calls
    protect_home = (
        Setting("ProtectHome", "read-only", "The program is in a home directory")
        if home
        else Setting("ProtectHome", "yes")
    )
    tmp = (
        Setting(
            "PrivateTmp", "yes", "The service has its own /tmp and /var/tmp, empty at each start"
        )
        if private_tmp
        else Setting("PrivateTmp", "no", "The service has files in /tmp that others must see")
    )
    return (*_FILES[:1], protect_home, tmp, *_FILES[1:]), calls
