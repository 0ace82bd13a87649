"""The units of the services under test: a .socket, and a hardened .service, as texts."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

ADDRESS = "127.0.0.1:8000"
USER = "app"

# Adoption takes seccomp, the gate pidfd_getfd, the census AF_NETLINK. (Not @sandbox for the first:
# systemd 252 does not know that group.)
HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service seccomp pidfd_getfd
UMask=0077
"""


@dataclass(frozen=True)
class Units:
    """What a service's units are made of. Times are in seconds."""

    name: str
    command: tuple[str, ...]
    directory: str
    environment: tuple[str, ...] = ()
    start_timeout: int = 90
    stop_timeout: int = 90
    hardened: bool = True  # and as a user of its own, which a unit of a user's manager cannot have

    @property
    def socket(self) -> str:
        """NAME.socket."""
        return f"[Socket]\nListenStream={ADDRESS}\n\n[Install]\nWantedBy=sockets.target\n"

    @property
    def service(self) -> str:
        """NAME.service."""
        run = ["sockact", "run", "--name", self.name, "--directory", self.directory]
        environment = "".join(f"Environment={one}\n" for one in self.environment)
        return f"""\
[Unit]
Requires={self.name}.socket
After={self.name}.socket
# A service that was started too often would take its .socket unit along.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/{shlex.join([*run, "--", *self.command])}
ExecReload=/usr/bin/sockact reload {self.name}
{environment}\
RuntimeDirectory=sockact/{self.name}
KillMode=mixed
TimeoutStartSec={self.start_timeout}
TimeoutStopSec={self.stop_timeout}
WatchdogSec=30
Restart=on-failure
RestartSec=0.1
{f"User={USER}{chr(10)}{HARDENING}" if self.hardened else ""}"""
