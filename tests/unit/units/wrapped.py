"""A service as systemd shows it before a wrap."""

from __future__ import annotations

from sockact.units import unitfile
from sockact.units.facts import Facts, Unit
from sockact.units.wrap import drop_in
from sockact.units.wrap.drop_in import Wrap

# As systemd shows a service that says nothing but ExecStart= and User=.
PLAIN = {
    "Type": "simple",
    "NotifyAccess": "none",
    "KillMode": "control-group",
    "KillSignal": "15",
    "SendSIGHUP": "no",
    "TimeoutStartUSec": "1min 30s",
    "TimeoutStopUSec": "1min 30s",
    "RuntimeMaxUSec": "infinity",
    "WatchdogUSec": "0",
    "FileDescriptorStoreMax": "0",
    "Restart": "no",
    "RestartUSec": "100ms",
    "StartLimitIntervalUSec": "10s",
    "StartLimitBurst": "5",
    "OOMPolicy": "stop",
    "User": "web",
    "NoNewPrivileges": "no",
    "RuntimeDirectoryPreserve": "no",
    "RuntimeDirectoryMode": "0755",
    "ActiveState": "active",
    "NeedDaemonReload": "no",
    "FragmentPath": "/etc/systemd/system/web.service",
}
START = "/usr/bin/gunicorn --bind 127.0.0.1:80 a:a"
WRAP = Wrap("web", "/usr/bin/sockact", ("web.socket",))
SOCKET = {"Accept": "no", "ActiveState": "active", "Listen": "127.0.0.1:80 (Stream)"}


def facts(*lines: str, start: str = START, sockets: tuple[Unit, ...] = (), **shown: str) -> Facts:
    """`lines` are of its [Service] section."""
    files = unitfile.parse("\n".join(["[Service]", f"ExecStart={start}", *lines]))
    service = Unit("web.service", {**PLAIN, **shown}, files)
    words = tuple(unitfile.program(unitfile.split(start)))
    return Facts(257, service, sockets, words, ())


def written(found: Facts, wrap: Wrap = WRAP, *, unfinished: bool = False) -> dict[str, list[str]]:
    """The settings of the drop-in, of all sections."""
    sections = unitfile.parse(drop_in.render(found, wrap, unfinished=unfinished))
    return {key: values for section in sections.values() for key, values in section.items()}
