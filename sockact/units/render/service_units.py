"""NAME.service and NAME.socket as text; docs/systemd.md gives the reason for each setting."""

from __future__ import annotations

import ipaddress
import os
import textwrap
from dataclasses import dataclass, field

from sockact.core import numbers
from sockact.core.matching import Address, Family, Kind, has_ipv4_twin
from sockact.core.record import replace
from sockact.core.settings import Settings
from sockact.units import socket_files, timeouts
from sockact.units.render import hardening
from sockact.units.unitfile import Setting, escape_value

_WIDTH = 98
_HOMES = ("/home/", "/root/", "/run/user/")
_LOGS = "/var/log/"
_TEMPORARY = ("/tmp/", "/var/tmp/")
_TEMPLATE = "%i"


@dataclass(frozen=True)
class Plan:
    """The service to write units for. Texts are as unit files have them."""

    name: str
    """The name of the service; %i in a template."""
    start: str
    """The value of ExecStart=."""
    reload: str
    """The value of ExecReload=."""
    addresses: tuple[Address, ...] = ()
    lanes: int = 1
    """Number of equal lines for each address."""
    label: str = ""
    """FileDescriptorName=; empty for systemd's default."""
    user: str = ""
    """The user that the program runs as; empty for a dynamic user."""
    env_file: str = ""
    paths: tuple[str, ...] = ()
    """Files and directories that the program needs, which may be below /home."""
    logs: tuple[str, ...] = ()
    """The log files of the program."""
    user_unit: bool = False
    """Whether the units are for `systemctl --user`."""
    jit: bool = False
    """Whether the program generates code at run time."""
    socket_settings: tuple[Setting, ...] = ()
    """More lines of the .socket unit."""
    times: Settings = field(default_factory=lambda: Settings("", ()))
    """The options of `sockact run`, of which only the times are used."""

    @property
    def unit(self) -> str:
        """The name of both units without the suffix, as other units write it."""
        return f"sockact@{_TEMPLATE}" if self.name == _TEMPLATE else self.name

    @property
    def title(self) -> str:
        """The name in a sentence."""
        return "NAME" if self.name == _TEMPLATE else self.name


def service(plan: Plan) -> str:
    """The text of NAME.service."""
    install = [] if plan.name == _TEMPLATE else [Setting("Also", f"{plan.unit}.socket")]
    target = "default.target" if plan.user_unit else "multi-user.target"
    return _text(
        ("Unit", _unit_of_service(plan)),
        ("Service", [*_life(plan), *_user(plan), *_directories(plan), *_sandbox(plan)]),
        ("Install", [Setting("WantedBy", target), *install]),
    )


def socket(plan: Plan) -> str:
    """The text of NAME.socket; in a template without addresses."""
    reload = "systemctl --user" if plan.user_unit else "systemctl"
    head = Setting(
        "Description",
        f"Sockets of {plan.name}",
        f"After a change, run `{reload} daemon-reload` and restart both this unit and the service",
    )
    return _text(
        ("Unit", [head]),
        ("Socket", _socket(plan)),
        ("Install", [Setting("WantedBy", "sockets.target")]),
    )


def unix_paths(addresses: tuple[Address, ...]) -> list[str]:
    """The socket files among the addresses."""
    return [a.host for a in addresses if a.is_file]


def is_user_name(name: str) -> bool:
    """Whether systemd accepts the name for a dynamic user (systemd.exec(5), DynamicUser=)."""
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
            "The socket queues connections while the service restarts. Without it, there is no "
            "listener",
        ),
        Setting("After", f"{after}{plan.unit}.socket"),
        Setting(
            "StartLimitIntervalSec",
            "60s",
            "Hitting this limit also takes the socket down. With RestartSec= below, a crash loop "
            "never does, and clients wait in the socket's queue",
        ),
        Setting("StartLimitBurst", "100"),
    ]


def _life(plan: Plan) -> list[Setting]:
    """Start, reload and stop."""
    run = [Setting("ExecStart", plan.start)]
    if plan.name == _TEMPLATE:
        run = _template_start(plan)
    elif plan.env_file:
        why = "Read at each start of the service, but not on a reload"
        run.insert(0, Setting("EnvironmentFile", plan.env_file, why))
    return [
        Setting(
            "Type",
            "notify",
            "Not notify-reload: it cannot report a failed reload. ExecReload= below can",
        ),
        Setting("NotifyAccess", "main"),
        *run,
        Setting("ExecReload", plan.reload),
        Setting(
            "KillMode",
            "mixed",
            "Not control-group: SIGTERM would reach the program before its connections are drained",
        ),
        Setting("Restart", "on-failure"),
        Setting("RestartSec", "1s"),
        Setting(
            "OOMPolicy",
            "continue",
            "If the kernel kills a worker for lack of memory, the others keep serving",
        ),
        Setting(
            "TimeoutStartSec",
            numbers.span(timeouts.starting(plan.times) + timeouts.MARGIN),
            "Also applies to reloads. Longer than --start-timeout, --trial and --kill-timeout "
            "together. sockact asks for more time if it needs it",
        ),
        Setting(
            "TimeoutStopSec",
            numbers.span(timeouts.stopping(plan.times) + timeouts.MARGIN),
            "Longer than --drain-timeout and --kill-timeout together",
        ),
        Setting("WatchdogSec", "30s"),
        Setting(
            "FileDescriptorStoreMax",
            "64",
            "If sockact crashes, systemd keeps the listeners opened for --listen, and the pidfds "
            "of the running generations",
        ),
    ]


def _template_start(plan: Plan) -> list[Setting]:
    return [
        Setting(
            "EnvironmentFile",
            plan.env_file,
            "SOCKACT_COMMAND is the program with its arguments, SOCKACT_OPTIONS are options of "
            "`sockact run`; both are split at spaces. Read at each start, but not on a reload",
        ),
        Setting("ExecStart", plan.start),
    ]


def _user(plan: Plan) -> list[Setting]:
    if plan.user_unit:
        return []
    if plan.user:
        return [Setting("User", escape_value(plan.user))]
    named = plan.name == _TEMPLATE or is_user_name(plan.name)
    own = [Setting("User", plan.name)] if named else []
    user = f"user {plan.title}" if named else "a user with the unit's name"
    return [
        Setting("DynamicUser", "yes", f"Runs as {user}, which systemd creates if it is missing"),
        *own,
    ]


def _directories(plan: Plan) -> list[Setting]:
    found = [
        Setting(
            "RuntimeDirectory",
            f"sockact/{plan.name}",
            "For the control socket; `sockact status` looks for it here",
        ),
        Setting(
            "StateDirectory",
            f"sockact/{plan.name}",
            "The program may use it, too: $STATE_DIRECTORY",
        ),
    ]
    if plan.user_unit:
        return found
    logs, elsewhere = _log_directories(plan.logs)
    if logs:
        why = "For --log. systemd creates it for the user"
        found.append(Setting("LogsDirectory", " ".join(map(_quoted, logs)), why))
    if elsewhere:
        writable = " ".join(_quoted(f"-{path}") for path in elsewhere)
        found.append(Setting("ReadWritePaths", writable, "For --log"))
    if paths := unix_paths(plan.addresses):
        writable = " ".join(_quoted(f"-{path}") for path in paths)
        if not _private_tmp(plan):
            # A /tmp that is not private is read-only, too.
            writable = " ".join([writable, *(path.rstrip("/") for path in _TEMPORARY)])
        why = "For programs that change the mode or owner of their socket file"
        found.append(Setting("ReadWritePaths", writable, why))
    return found


def _log_directories(logs: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The directories of log files: those below /var/log as in LogsDirectory=, and the others."""
    found = {os.path.dirname(path) for path in logs if not path.startswith("/dev/")}
    below = {path for path in found if path.startswith(_LOGS)}
    return sorted(path.removeprefix(_LOGS) for path in below), sorted(found - below)


def _quoted(path: str) -> str:
    return f'"{escape_value(path)}"'


def _visible_paths(plan: Plan) -> tuple[str, ...]:
    return (*plan.paths, *plan.logs, *unix_paths(plan.addresses))


def _private_tmp(plan: Plan) -> bool:
    return not any(f"{path}/".startswith(_TEMPORARY) for path in _visible_paths(plan))


def _sandbox(plan: Plan) -> list[Setting]:
    files, calls = hardening.settings(
        user_unit=plan.user_unit,
        jit=plan.jit,
        home=any(path.startswith(_HOMES) for path in _visible_paths(plan)),
        private_tmp=_private_tmp(plan),
    )
    return [*files, *calls]


def _socket(plan: Plan) -> list[Setting]:
    addresses = plan.addresses
    listen = [_listen(address) for address in addresses for _ in range(plan.lanes)]
    if plan.name == _TEMPLATE:
        listen = []
    elif addresses:
        why = "The port and address family in the program's own configuration have to match"
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
        why = "Most servers set this themselves, but sockact cannot see it in every program"
        found.append(Setting("NoDelay", "yes", why))
    if plan.lanes > 1:
        why = "Each of several equal lines is the listener of one generation, a lane"
        found.append(Setting("ReusePort", "yes", why))
    decided = any(setting.key == "BindIPv6Only" for setting in plan.socket_settings)
    if not decided and any(has_ipv4_twin(a, plan.addresses) for a in plan.addresses):
        why = "Otherwise, [::] would take the IPv4 port, too, and the socket could not be opened"
        found.append(Setting("BindIPv6Only", "ipv6-only", why))
    if any(map(_of_interface, plan.addresses)):
        why = "At boot, the socket may be opened before the address is configured"
        found.append(Setting("FreeBind", "yes", why))
    if unix_paths(plan.addresses) and plan.user and not plan.user_unit:
        why = "For programs that change the mode or owner of their socket file"
        found += socket_files.owner_settings(unix_paths(plan.addresses), plan.user, why=why)
    return [*found, *plan.socket_settings]


def _of_interface(address: Address) -> bool:
    """Whether the address belongs to one interface, which may come up later than the socket."""
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
        lines.append(str(setting))
    return "\n".join(lines) + "\n"
