"""The units of `sockact exporter`, as text: docs/metrics.md gives the reasons.

For the command line and for packages; the supervisor does not import this.
"""

from __future__ import annotations

ADDRESS = "127.0.0.1:9927"

_SOCKET = f"""\
[Unit]
Description=Metrics of the services that sockact runs
Documentation=man:sockact-exporter(1)

[Socket]
# This machine only. For a Prometheus elsewhere: `systemctl edit` it, with an empty ListenStream=
# line first; the metrics tell names, addresses and versions of all services.
ListenStream={ADDRESS}

[Install]
WantedBy=sockets.target
"""

_SERVICE = """\
[Unit]
Description=Metrics of the services that sockact runs
Documentation=man:sockact-exporter(1)
Requires=sockact-exporter.socket
After=sockact-exporter.socket

[Service]
ExecStart={sockact} exporter
Restart=on-failure
# As root, because the control sockets of all users' services answer root only; with no other of
# root's rights than to open them.
CapabilityBoundingSet=CAP_DAC_OVERRIDE
NoNewPrivileges=yes
# It cannot reach any network: its one socket comes from systemd.
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
MemoryMax=256M
TasksMax=64
"""


def files(sockact: str) -> dict[str, str]:
    """Name → text; `sockact` is the command."""
    return {
        "sockact-exporter.service": _SERVICE.format(sockact=sockact),
        "sockact-exporter.socket": _SOCKET,
    }
