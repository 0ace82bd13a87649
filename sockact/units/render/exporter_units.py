"""The units of `sockact exporter` as text; docs/metrics.md gives the reasons."""

from __future__ import annotations

ADDRESS = "127.0.0.1:9927"

_SOCKET = f"""\
[Unit]
Description=Metrics of the services run by sockact
Documentation=man:sockact-exporter(1)

[Socket]
# Reachable from this machine only, because the metrics include the names, addresses and versions
# of all services. To let a remote Prometheus connect, run `systemctl edit` on this unit and write
# an empty ListenStream=, then ListenStream= with the new address.
ListenStream={ADDRESS}

[Install]
WantedBy=sockets.target
"""

_SERVICE = """\
[Unit]
Description=Metrics of the services run by sockact
Documentation=man:sockact-exporter(1)
Requires=sockact-exporter.socket
After=sockact-exporter.socket

[Service]
ExecStart={sockact} exporter
Restart=on-failure
# Runs as root, because only root may query the services of all users. Its only capability is the
# one that opens their control sockets.
CapabilityBoundingSet=CAP_DAC_OVERRIDE
NoNewPrivileges=yes
# No access to the network: systemd passes the listener.
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
    """File name → text; `sockact` is the command."""
    return {
        "sockact-exporter.service": _SERVICE.format(sockact=sockact),
        "sockact-exporter.socket": _SOCKET,
    }
