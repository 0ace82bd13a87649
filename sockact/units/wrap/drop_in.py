"""The drop-in that makes sockact run an existing service: docs/wrap.md.

Pure: facts in, text out.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass, field, replace

from sockact.core import numbers
from sockact.core.settings import Settings
from sockact.units import sandbox, socket_files, timeouts, unitfile
from sockact.units.unitfile import Setting
from sockact.units.wrap import refusals, stop_signal
from sockact.units.wrap.service_files import DROP_IN, UNFINISHED_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts, Unit

# A later drop-in adds to these instead of replacing them.
_LISTS = ("Requires", "After", "Environment")
# SIGTERM, SIGINT, and the default.
_STOP_SIGNALS = ("15", "2", "")


@dataclass(frozen=True)
class Wrap:
    """How the service is to be wrapped."""

    name: str
    """Its name in sockact."""
    sockact: str
    """The absolute path of the command."""
    sockets: tuple[str, ...]
    """The .socket units that hold its listeners."""
    native: bool = False
    """Whether the sockets are the service's own, so that the program knows LISTEN_FDS."""
    socket_paths: tuple[str, ...] = ()
    """The socket files among the listeners."""
    options: tuple[str, ...] = ()
    """Options of `sockact run`, as given."""
    settings: Settings = field(default_factory=lambda: Settings("", ()))
    """The meaning of these options; only the times are used."""
    user_unit: bool = False
    changes_user: bool = False
    """Whether processes of the program have become another user."""


def own_options(facts: Facts, wrap: Wrap) -> list[str]:
    """Options of `sockact run` that follow from the service's settings, unless they are given."""
    found = []
    if wrap.native:
        found += ["--adopt", "native"]
    # gunicorn sends READY=1 before a worker has imported the application.
    if facts.service.get("Type").startswith("notify") and not refusals.is_gunicorn(facts):
        found += ["--ready", "notify"]
    if number := stop_signal.find(facts.service):
        found += ["--stop-signal", signal.Signals(number).name]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    return [word for pair in pairs if pair[0] not in wrap.options for word in pair]


def start_line(facts: Facts, wrap: Wrap) -> str:
    """ExecStart= with `sockact run` in front of the same words, which systemd expands as before."""
    line = facts.service.start
    signs = unitfile.prefixes(line)
    run = unitfile.command_line((wrap.sockact, "run", "--name", wrap.name))
    given = unitfile.command_line((*own_options(facts, wrap), *wrap.options))
    parts = [run, _directory(facts.service), given, "--", *_program(line)]
    return (":" if ":" in signs else "") + " ".join(filter(None, parts))


def _program(line: str) -> list[str]:
    """The words of an ExecStart= line as they have to be written after `--`."""
    signs = unitfile.prefixes(line)
    words = unitfile.raw_words(line[len(signs) :].lstrip())
    if not words:
        return []  # systemd ignores such a line.
    first, *others = words
    # systemd expands no $VARIABLES in the first word of the original line.
    return [first.replace("$", "$$"), *others["@" in signs :]]


def hidden_start(service: Unit) -> str:
    """The ExecStart= under our drop-in if it has changed since the wrap, else empty."""
    own, others = "", ""
    for path, part in service.parts.items():
        lines = part.get("Service", {}).get("ExecStart", [])
        if os.path.basename(path) == DROP_IN:
            own = lines[-1] if lines else ""
        elif lines:
            others = lines[-1]
    changed = own and others and not own.endswith(" ".join([" --", *_program(others)]))
    return others if changed else ""


def _directory(service: Unit) -> str:
    """The option --directory for WorkingDirectory=, which is resolved at each reload."""
    path = (service.files.get("Service", {}).get("WorkingDirectory") or [""])[-1]
    if not path.startswith(("/", "%")):
        return ""
    path = path.replace("$", "$$")
    quote = re.search(r"[^\w@%+=:,./$-]", path)
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'--directory "{escaped}"' if quote else f"--directory {path}"


def render(facts: Facts, wrap: Wrap, *, unfinished: bool = False) -> str:
    """The text of the drop-in.

    `unfinished`: for the restart, which still stops the program by the service's own settings.
    """
    mark = [UNFINISHED_LINE] if unfinished else []
    lines = ["[Unit]", *mark, *map(str, _unit(facts, wrap)), "", "[Service]"]
    lines += map(str, [*_life(facts, wrap), *_directories(facts, wrap), *confinement(facts, wrap)])
    if not unfinished:
        lines += map(str, _stop(facts, wrap))
    return "\n".join(lines) + "\n"


def overriding(facts: Facts, wrap: Wrap) -> str:
    """What a drop-in that systemd reads after ours overrides; empty if there is none."""
    ours = unitfile.parse(render(facts, wrap))
    for path, part in facts.service.parts.items():
        if os.path.basename(path) <= DROP_IN or not path.endswith(".conf"):
            continue
        keys = [
            key
            for section, settings in ours.items()
            for key in settings
            if key in part.get(section, {}) and key not in _LISTS
        ]
        if keys:
            return f"{path}, which systemd reads after {DROP_IN}, has {keys[0]}="
    return ""


def _unit(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    sockets = " ".join(wrap.sockets)
    yield Setting("Requires", sockets)
    yield Setting("After", sockets)
    if facts.service.reaches_start_limit:
        yield Setting("StartLimitIntervalSec", "60s")
        yield Setting("StartLimitBurst", "100")


def _life(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    """Start, reload and watchdog."""
    service = facts.service
    yield Setting("Type", "notify")
    yield Setting("NotifyAccess", "main")
    yield Setting("ExecStart", "")
    yield Setting("ExecStart", start_line(facts, wrap))
    yield Setting("ExecReload", "")
    reload = unitfile.command_line((wrap.sockact, "reload", wrap.name))
    yield Setting("ExecReload", reload)
    yield from _around_start(facts, wrap)
    if service.get("PIDFile"):
        yield Setting("PIDFile", "")
    if service.get("Restart") in ("no", "on-success"):
        yield Setting("Restart", "on-failure")
    if service.reaches_start_limit:
        yield Setting("RestartSec", "1s")
    if service.get("OOMPolicy") in ("stop", "kill"):
        yield Setting("OOMPolicy", "continue")
    if (limit := start_limit(facts, wrap)) > service.span("TimeoutStartUSec"):
        yield Setting("TimeoutStartSec", numbers.span(limit))
    if service.get("WatchdogUSec") in ("", "0"):
        yield Setting("WatchdogSec", "30s")
    if service.get("FileDescriptorStoreMax") in ("", "0"):
        yield Setting("FileDescriptorStoreMax", "64")
    if not service.get("SyslogIdentifier") and facts.start:
        # The program keeps its name in the journal.
        identifier = unitfile.escape_value(os.path.basename(facts.start[0]))
        yield Setting("SyslogIdentifier", identifier)


def _around_start(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    """Without the commands that remove a socket file, which is systemd's now."""
    settings = facts.service.files.get("Service", {})
    for key, lines in socket_files.removers(facts, wrap.socket_paths).items():
        if key != "ExecStop":
            yield Setting(key, "")
            yield from (Setting(key, line) for line in settings[key] if line not in lines)


def start_limit(facts: Facts, wrap: Wrap) -> float:
    """How long systemd waits for the wrapped service to start, in seconds."""
    work = timeouts.starting(wrap.settings)
    now = facts.service.span("TimeoutStartUSec")
    return now if now >= work else work + timeouts.MARGIN


def _stop(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    service = facts.service
    if service.files.get("Service", {}).get("ExecStop"):
        yield Setting("ExecStop", "")
    if service.get("KillMode") != "mixed":
        yield Setting("KillMode", "mixed")
    if service.get("KillSignal") not in _STOP_SIGNALS:
        yield Setting("KillSignal", "SIGTERM")
    if service.get("SendSIGHUP") == "yes":
        yield Setting("SendSIGHUP", "no")
    if service.span("TimeoutStopUSec") < timeouts.stopping(wrap.settings):
        yield Setting("TimeoutStopSec", numbers.span(stop_limit(wrap)))


def stop_limit(wrap: Wrap) -> float:
    """How long systemd has to wait at least for the wrapped service to stop, in seconds."""
    return timeouts.stopping(wrap.settings) + timeouts.MARGIN


def _directories(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    service = facts.service
    for key, base, variable in (
        ("RuntimeDirectory", "%t", "SOCKACT_RUNTIME_DIR"),
        ("StateDirectory", "%S", "SOCKACT_STATE_DIR"),
    ):
        yield Setting(key, f"sockact/{wrap.name}")
        if service.get(key):
            # sockact takes the first of several, which is not ours.
            yield Setting("Environment", f"{variable}={base}/sockact")
    if socket_files.removed_at_stop(facts, wrap.socket_paths):
        yield Setting("RuntimeDirectoryPreserve", "yes")


def confinement(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    """Privileges, system calls and address families."""
    service = facts.service
    if drops_privileges(facts, wrap):
        yield Setting("NoNewPrivileges", "yes")
    if needed := added_capabilities(facts, wrap):
        yield Setting("CapabilityBoundingSet", " ".join(needed))
    if missing := sandbox.missing_calls(service):
        yield Setting("SystemCallFilter", " ".join(missing))
        if sandbox.kills(service):
            yield Setting("SystemCallErrorNumber", "EPERM")
    if families := sandbox.missing_families(service):
        yield Setting("RestrictAddressFamilies", " ".join(families))


def added_capabilities(facts: Facts, wrap: Wrap) -> list[str]:
    """Those that sockact, as root, does not have for the program's processes of another user: it
    could neither answer their bind() nor stop them.
    """
    return sandbox.missing_capabilities(facts.service) if wrap.changes_user else []


def drops_privileges(facts: Facts, wrap: Wrap) -> bool:
    """Whether the program can run sudo now, and no longer once seccomp intercepts its bind()."""
    service = facts.service
    other = wrap.native or {"shim", "native"} & {*wrap.options}
    return not (service.is_root or other) and service.get("NoNewPrivileges") == "no"


_SHOWN = {
    "TimeoutStartSec": "TimeoutStartUSec",
    "TimeoutStopSec": "TimeoutStopUSec",
    "RestartSec": "RestartUSec",
    "StartLimitIntervalSec": "StartLimitIntervalUSec",
    "WatchdogSec": "WatchdogUSec",
}


def merged(facts: Facts, wrap: Wrap, sockets: tuple[Unit, ...]) -> Facts:
    """The facts with the drop-in, for the rules of `sockact check`."""
    properties = dict(facts.service.properties)
    text = render(facts, wrap)
    found = unitfile.parse(text)
    for section in found.values():
        for key, values in section.items():
            before = [properties.get(key, "")] if key.endswith("Directory") else []
            properties[_SHOWN.get(key, key)] = " ".join(filter(None, [*before, *values[-1:]]))
    properties |= {"Environment": " ".join(found["Service"].get("Environment", []))}
    properties |= {"ActiveState": "inactive", "KillSignal": "15", "NeedDaemonReload": "no"}
    if not sandbox.missing_calls(facts.service):
        properties["SystemCallFilter"] = facts.service.get("SystemCallFilter")
    else:
        properties |= {"SystemCallFilter": "", "SystemCallErrorNumber": "1"}
    if "RestrictAddressFamilies" in found["Service"]:
        properties["RestrictAddressFamilies"] = ""
    start = unitfile.program(unitfile.split(found["Service"]["ExecStart"][-1]))
    words = (*unitfile.expand(start[: start.index("--")], facts.service.name, {}), "--")
    service = replace(facts.service, properties=properties, files=found)
    return replace(
        facts,
        service=service,
        sockets=sockets,
        start=(*words, *facts.start),
        reload=(wrap.sockact, "reload", wrap.name),
    )
