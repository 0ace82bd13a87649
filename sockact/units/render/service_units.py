"""NAME.service and NAME.socket as text: docs/systemd.md gives the reason for each setting.

For the command line only; the supervisor does not import this.
"""

from __future__ import annotations

import ipaddress
import os
import textwrap
from dataclasses import dataclass, replace

from sockact.core.matching import Address, Family, Kind
from sockact.core.settings import Settings
from sockact.units import hardening, socket_files
from sockact.units.hardening import Setting
from sockact.units.unitfile import escape_value, span

_WIDTH = 98
_HOMES = ("/home/", "/root/", "/run/user/")
_LOGS = "/var/log/"
_TEMPORARY = ("/tmp/", "/var/tmp/")
# What systemd's own work takes, before and after the supervisor's deadlines count.
_MARGIN = 20.0
_TEMPLATE = "%i"


@dataclass(frozen=True)
class Plan:
    """What the units are for. Times are in seconds; texts are as unit files have them."""

    name: str
    """Of the service; %i in a template."""
    start: str
    """The value of ExecStart=."""
    reload: str
    """The value of ExecReload=."""
    addresses: tuple[Address, ...] = ()
    label: str = ""
    """FileDescriptorName=; empty: systemd's default."""
    user: str = ""
    """Whom the program runs as; empty: a user that systemd makes for it."""
    env_file: str = ""
    paths: tuple[str, ...] = ()
    """Files and folders that the program is started from, to see whether they are below /home."""
    logs: tuple[str, ...] = ()
    """Files that it writes its logs to."""
    user_unit: bool = False
    """For `systemctl --user`."""
    jit: bool = False
    """The program makes code at run time."""
    socket_settings: tuple[Setting, ...] = ()
    """More lines for the .socket unit."""
    start_timeout: float = Settings.start_timeout
    trial: float = Settings.trial
    drain_timeout: float = Settings.drain_timeout
    kill_timeout: float = Settings.kill_timeout

    @property
    def unit(self) -> str:
        """The name of both units, without their suffix, as other units write it."""
        return f"sockact@{_TEMPLATE}" if self.name == _TEMPLATE else self.name

    @property
    def title(self) -> str:
        """The name as it is in a sentence."""
        return "NAME" if self.name == _TEMPLATE else self.name


def service(plan: Plan) -> str:
    """NAME.service."""
    install = [] if plan.name == _TEMPLATE else [Setting("Also", f"{plan.unit}.socket")]
    target = "default.target" if plan.user_unit else "multi-user.target"
    return _text(
        ("Unit", _unit_of_service(plan)),
        ("Service", [*_life(plan), *_process(plan), *_folders(plan), *_limits(plan)]),
        ("Install", [Setting("WantedBy", target), *install]),
    )


def socket(plan: Plan) -> str:
    """NAME.socket; without a Listen line for a template."""
    reload = "systemctl --user" if plan.user_unit else "systemctl"
    head = Setting(
        "Description",
        f"Sockets of {plan.name}",
        f"A change here takes `{reload} daemon-reload`, and a restart of this unit and the service",
    )
    return _text(
        ("Unit", [head]),
        ("Socket", _listening(plan)),
        ("Install", [Setting("WantedBy", "sockets.target")]),
    )


def unix_paths(addresses: tuple[Address, ...]) -> list[str]:
    """The socket files among the addresses."""
    return [a.host for a in addresses if a.family is Family.UNIX and a.host[0] == "/"]


def user_name(name: str) -> bool:
    """Whether systemd may make a user of that name (systemd.exec(5), DynamicUser=)."""
    return (
        0 < len(name) <= 31
        and name.isascii()
        and name[0] in "abcdefghijklmnopqrstuvwxyz_"
        and name.replace("-", "").replace("_", "").isalnum()
        and name == name.lower()
    )


def _unit_of_service(plan: Plan) -> list[Setting]:
    after = "" if plan.user_unit else "network.target "
    return [
        Setting("Description", f"{plan.name}, run by sockact"),
        Setting(
            "Requires",
            f"{plan.unit}.socket",
            "The socket keeps the queue while the service restarts; without it, it has no listener",
        ),
        Setting("After", f"{after}{plan.unit}.socket"),
        Setting(
            "StartLimitIntervalSec",
            "60s",
            "Whoever hits this limit takes the socket down, too. RestartSec= below alone never "
            "does: a crash loop keeps its socket, and its clients wait",
        ),
        Setting("StartLimitBurst", "100"),
    ]


def _life(plan: Plan) -> list[Setting]:
    """How it starts, reloads and ends."""
    work = plan.start_timeout + plan.trial + plan.kill_timeout
    end = plan.drain_timeout + plan.kill_timeout
    run = [Setting("ExecStart", plan.start)]
    if plan.name == _TEMPLATE:
        run = _template_start(plan)
    elif plan.env_file:
        why = "Read when the service starts, not when it reloads"
        run.insert(0, Setting("EnvironmentFile", plan.env_file, why))
    return [
        Setting(
            "Type",
            "notify",
            "Not notify-reload: it cannot say that a reload failed, and ExecReload= below can",
        ),
        Setting("NotifyAccess", "main"),
        *run,
        Setting("ExecReload", plan.reload),
        Setting(
            "KillMode",
            "mixed",
            "Not control-group: SIGTERM would reach the program at once, before it has drained",
        ),
        Setting("Restart", "on-failure"),
        Setting("RestartSec", "1s"),
        Setting(
            "OOMPolicy",
            "continue",
            "A worker that the kernel killed for memory is replaced; all others go on serving",
        ),
        Setting(
            "TimeoutStartSec",
            span(work + _MARGIN),
            "Also limits a reload. Longer than --start-timeout, --trial and --kill-timeout; "
            "the supervisor asks for more time while it works",
        ),
        Setting(
            "TimeoutStopSec",
            span(end + _MARGIN),
            "Longer than --drain-timeout and --kill-timeout",
        ),
        Setting("WatchdogSec", "30s"),
        Setting(
            "FileDescriptorStoreMax",
            "64",
            "For listeners that no .socket unit holds, and for what lets generations be found "
            "again after a crash of the supervisor",
        ),
    ]


def _template_start(plan: Plan) -> list[Setting]:
    return [
        Setting(
            "EnvironmentFile",
            plan.env_file,
            "SOCKACT_COMMAND is the program with its arguments, SOCKACT_OPTIONS are options of "
            "`sockact run`; both are split at blanks. Read at a start, not at a reload",
        ),
        Setting("ExecStart", plan.start),
    ]


def _process(plan: Plan) -> list[Setting]:
    """Whom it runs as."""
    if plan.user_unit:
        return []
    if plan.user:
        return [Setting("User", escape_value(plan.user))]
    named = plan.name == _TEMPLATE or user_name(plan.name)
    own = [Setting("User", plan.name)] if named else []
    whose = f"the user {plan.title}" if named else "the user that is named like the unit"
    return [
        Setting("DynamicUser", "yes", f"Runs as {whose}; made for it where there is none"),
        *own,
    ]


def _folders(plan: Plan) -> list[Setting]:
    folders = [
        Setting(
            "RuntimeDirectory",
            f"sockact/{plan.name}",
            "The control socket is here, where `sockact status` looks for it",
        ),
        Setting("StateDirectory", f"sockact/{plan.name}", "The program's to use: $STATE_DIRECTORY"),
    ]
    if plan.user_unit:
        return folders
    logs, elsewhere = log_folders(plan.logs)
    if logs:
        why = "For --log; made for the user where it is missing"
        folders.append(Setting("LogsDirectory", " ".join(map(_quoted, logs)), why))
    if elsewhere:
        writable = " ".join(_quoted(f"-{path}") for path in elsewhere)
        folders.append(Setting("ReadWritePaths", writable, "For --log"))
    if paths := unix_paths(plan.addresses):
        writable = " ".join(_quoted(f"-{path}") for path in paths)
        if not _private_tmp(plan):
            # A /tmp that is not private is as read-only as all else.
            writable = " ".join([writable, *(path.rstrip("/") for path in _TEMPORARY)])
        why = "Programs change the mode or the owner of the socket file that they bind"
        folders.append(Setting("ReadWritePaths", writable, why))
    return folders


def log_folders(logs: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Where these files are: (below /var/log, as LogsDirectory= has it; elsewhere)."""
    found = {os.path.dirname(path) for path in logs if not path.startswith("/dev/")}
    below = {path for path in found if path.startswith(_LOGS)}
    return sorted(path.removeprefix(_LOGS) for path in below), sorted(found - below)


def _quoted(path: str) -> str:
    return f'"{escape_value(path)}"'


def _private_tmp(plan: Plan) -> bool:
    paths = (*plan.paths, *plan.logs, *unix_paths(plan.addresses))
    return not any(f"{path}/".startswith(_TEMPORARY) for path in paths)


def _limits(plan: Plan) -> list[Setting]:
    paths = (*plan.paths, *plan.logs, *unix_paths(plan.addresses))
    folders, calls = hardening.settings(
        user_unit=plan.user_unit,
        jit=plan.jit,
        home=any(path.startswith(_HOMES) for path in paths),
        private_tmp=_private_tmp(plan),
    )
    return [*folders, *calls]


def _listening(plan: Plan) -> list[Setting]:
    addresses = plan.addresses
    listen = [_listen(address) for address in addresses]
    if plan.name == _TEMPLATE:
        listen = []
    elif addresses:
        why = "The program's own configuration has the same port and family"
        listen[0] = replace(listen[0], why=why)
    label = [Setting("FileDescriptorName", plan.label)] if plan.label else []
    return [*listen, *label, *_socket_options(plan)]


def _listen(address: Address) -> Setting:
    key = "ListenStream" if address.kind is Kind.STREAM else "ListenDatagram"
    return Setting(key, escape_value(str(address).removeprefix("udp:")))


def _socket_options(plan: Plan) -> list[Setting]:
    found = []
    tcp = [a for a in plan.addresses if a.family is not Family.UNIX and a.kind is Kind.STREAM]
    if tcp or plan.name == _TEMPLATE:
        why = "As most servers set it themselves, for where sockact cannot see that they do"
        found.append(Setting("NoDelay", "yes", why))
    if any(map(_own_address, plan.addresses)):
        why = "At boot the socket may be there before the address is"
        found.append(Setting("FreeBind", "yes", why))
    if unix_paths(plan.addresses) and plan.user and not plan.user_unit:
        why = "Programs change the mode or the owner of the socket file that they bind"
        found += socket_files.owner(unix_paths(plan.addresses), plan.user, why=why)
    return [*found, *plan.socket_settings]


def _own_address(address: Address) -> bool:
    """An address of one interface of the machine, which comes up at some time."""
    if address.family is Family.UNIX:
        return False
    host = ipaddress.ip_address(address.host)
    return not (host.is_unspecified or host.is_loopback)


def _text(*sections: tuple[str, list[Setting]]) -> str:
    return "\n".join(_section(name, settings) for name, settings in sections)


def _section(name: str, settings: list[Setting]) -> str:
    lines = [f"[{name}]"]
    for setting in settings:
        if setting.why:
            lines += textwrap.wrap(
                f"{setting.why}.", _WIDTH, initial_indent="# ", subsequent_indent="# "
            )
        lines.append(f"{setting.key}={setting.value}")
    return "\n".join(lines) + "\n"
