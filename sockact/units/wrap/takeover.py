"""A service that is there already, and what makes sockact run it: docs/wrap.md.

Pure: what systemd says of the service in, the text of a drop-in out. For the command line only.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass, field, replace

from sockact.core.settings import Settings
from sockact.units import socket_files, unitfile
from sockact.units.check import limits
from sockact.units.hardening import Setting
from sockact.units.unitfile import span
from sockact.units.wrap import refusals
from sockact.units.wrap.places import DROP_IN, UNFINISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts, Unit

_MARGIN = 20.0
# What a later drop-in has of these is added.
_LISTS = ("Requires", "After", "Environment")
_STOPS = ("15", "2", "")
_KILLERS = ("kill", "start-stop-daemon")
_SIGNAL_OPTIONS = ("-s", "-n", "--signal")
_KILL_OPTION = re.compile(r"-([A-Za-z]{2,}\d?|\d+)")


@dataclass(frozen=True)
class Wrap:
    """How the service is to be wrapped."""

    name: str
    """By which sockact knows it."""
    sockact: str
    """The whole path of the command."""
    sockets: tuple[str, ...]
    """The .socket units that hold its listeners."""
    native: bool = False
    """The sockets are the service's own: the program knows LISTEN_FDS."""
    kept: tuple[str, ...] = ()
    """Socket files of the listeners."""
    options: tuple[str, ...] = ()
    """Of `sockact run`, as they are given."""
    settings: Settings = field(default_factory=lambda: Settings("", ()))
    """What these options mean; only the times count."""
    user_unit: bool = False


def own_options(facts: Facts, wrap: Wrap) -> list[str]:
    """What the service's own settings mean for `sockact run`, unless an option is given."""
    found = []
    if wrap.native:
        found += ["--adopt", "native"]
    # gunicorn says READY=1 before a worker has imported the application.
    if facts.service.get("Type").startswith("notify") and not refusals.is_gunicorn(facts):
        found += ["--ready", "notify"]
    if number := stop_signal(facts.service):
        found += ["--stop-signal", signal.Signals(number).name]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    return [word for pair in pairs if pair[0] not in wrap.options for word in pair]


def stop_signal(service: Unit) -> int:
    """By which signal the program ends, when it is not SIGTERM; 0 when it is."""
    words = _stop(service)
    text = _sent(words) if understands_stop(service) else service.get("KillSignal")
    return _number(text)


def understands_stop(service: Unit) -> bool:
    """Does ExecStop= only send a signal?"""
    words = _stop(service)
    return bool(words) and os.path.basename(words[0]) in _KILLERS


def _stop(service: Unit) -> list[str]:
    """The words of the last ExecStop=."""
    lines = service.files.get("Service", {}).get("ExecStop", [])
    return unitfile.program(unitfile.split(lines[-1])) if lines else []


def _sent(words: list[str]) -> str:
    """The signal that kill(1), or start-stop-daemon(8), is to send; empty: none is named."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if option in _SIGNAL_OPTIONS:
            return value or following
        if os.path.basename(words[0]) == "kill" and (found := _KILL_OPTION.fullmatch(word)):
            return found[1]
    return ""


def _number(text: str) -> int:
    text = text.upper()
    try:
        found = signal.Signals(int(text)) if text.isdecimal() else signal.Signals[_long(text)]
    except (KeyError, ValueError):
        return 0
    # The last two cannot ask anybody to end.
    usual = found in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP)
    return 0 if usual else int(found)


def _long(name: str) -> str:
    return name if name.startswith("SIG") else f"SIG{name}"


def start_line(facts: Facts, wrap: Wrap) -> str:
    """ExecStart= with `sockact run` around the same words, which systemd expands as before."""
    line = facts.service.start
    signs = unitfile.prefixes(line)
    run = unitfile.command_line((wrap.sockact, "run", "--name", wrap.name))
    given = unitfile.command_line((*own_options(facts, wrap), *wrap.options))
    parts = [run, _directory(facts.service), given, "--", *_program(line)]
    return (":" if ":" in signs else "") + " ".join(filter(None, parts))


def _program(line: str) -> list[str]:
    """The words of the program in a line of ExecStart=, as they are to be written behind `--`."""
    signs = unitfile.prefixes(line)
    first, *others = unitfile.raw_words(line[len(signs) :].lstrip())
    # In the program's own place systemd expands no $VARIABLES.
    return [first.replace("$", "$$"), *others["@" in signs :]]


def hidden_start(service: Unit) -> str:
    """The ExecStart= that our drop-in hides, when it has changed since the wrap; or empty."""
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
    """Where the program runs, to be looked up anew at each reload."""
    path = (service.files.get("Service", {}).get("WorkingDirectory") or [""])[-1]
    if not path.startswith(("/", "%")):
        return ""
    path = path.replace("$", "$$")
    quote = re.search(r"[^\w@%+=:,./$-]", path)
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'--directory "{escaped}"' if quote else f"--directory {path}"


def drop_in(facts: Facts, wrap: Wrap, *, leaving: bool = False) -> str:
    """The text of the drop-in; with `leaving`, while what runs still is the program itself, which
    ends by its own settings.
    """
    unfinished = [UNFINISHED] if leaving else []
    lines = ["[Unit]", *unfinished, *map(_line, _unit(facts, wrap)), "", "[Service]"]
    lines += map(_line, [*_life(facts, wrap), *_rights(facts, wrap)])
    if not leaving:
        lines += map(_line, ending(facts, wrap))
    return "\n".join(lines) + "\n"


def overriding(facts: Facts, wrap: Wrap) -> str:
    """A drop-in that systemd reads after ours, and what of ours it changes; empty: none does."""
    ours = unitfile.parse(drop_in(facts, wrap))
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


def _line(setting: Setting) -> str:
    return f"{setting.key}={setting.value}"


def _unit(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    sockets = " ".join(wrap.sockets)
    yield Setting("Requires", sockets)
    yield Setting("After", sockets)
    if _hasty(facts.service):
        yield Setting("StartLimitIntervalSec", "60s")
        yield Setting("StartLimitBurst", "100")


def _hasty(service: Unit) -> bool:
    """Would a crash loop run into systemd's limit, and take the .socket unit down?"""
    burst = service.get("StartLimitBurst")
    interval = service.span("StartLimitIntervalUSec")
    pause = service.span("RestartUSec")
    return burst.isdecimal() and int(burst) * pause < interval < float("inf")


def _life(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    """How it starts, reloads and is kept alive."""
    service = facts.service
    yield Setting("Type", "notify")
    yield Setting("NotifyAccess", "main")
    yield Setting("ExecStart", "")
    yield Setting("ExecStart", start_line(facts, wrap))
    yield Setting("ExecReload", "")
    reload = unitfile.command_line((wrap.sockact, "reload", wrap.name))
    yield Setting("ExecReload", reload)
    if service.get("PIDFile"):
        yield Setting("PIDFile", "")
    if service.get("Restart") in ("no", "on-success"):
        yield Setting("Restart", "on-failure")
    if _hasty(service):
        yield Setting("RestartSec", "1s")
    if service.get("OOMPolicy") in ("stop", "kill"):
        yield Setting("OOMPolicy", "continue")
    if (limit := start_limit(facts, wrap)) > service.span("TimeoutStartUSec"):
        yield Setting("TimeoutStartSec", span(limit))
    if service.get("WatchdogUSec") in ("", "0"):
        yield Setting("WatchdogSec", "30s")
    if service.get("FileDescriptorStoreMax") in ("", "0"):
        yield Setting("FileDescriptorStoreMax", "64")
    if not service.get("SyslogIdentifier") and facts.start:
        # As before, what the program prints has its name in the journal.
        identifier = unitfile.escape_value(os.path.basename(facts.start[0]))
        yield Setting("SyslogIdentifier", identifier)


def start_limit(facts: Facts, wrap: Wrap) -> float:
    """How long systemd waits for a start of the wrapped service, in seconds."""
    times = wrap.settings
    work = times.start_timeout + times.trial + times.kill_timeout
    now = facts.service.span("TimeoutStartUSec")
    return now if now >= work else work + _MARGIN


def ending(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    """How it ends once sockact runs it."""
    service = facts.service
    if service.files.get("Service", {}).get("ExecStop"):
        yield Setting("ExecStop", "")
    if service.get("KillMode") != "mixed":
        yield Setting("KillMode", "mixed")
    if service.get("KillSignal") not in _STOPS:
        yield Setting("KillSignal", "SIGTERM")
    if service.get("SendSIGHUP") == "yes":
        yield Setting("SendSIGHUP", "no")
    need = wrap.settings.drain_timeout + wrap.settings.kill_timeout
    if service.span("TimeoutStopUSec") < need:
        yield Setting("TimeoutStopSec", span(need + _MARGIN))


def _rights(facts: Facts, wrap: Wrap) -> Iterator[Setting]:
    """Its folders, and what its sandbox has to allow."""
    service = facts.service
    for key, base, variable in (
        ("RuntimeDirectory", "%t", "SOCKACT_RUNTIME_DIR"),
        ("StateDirectory", "%S", "SOCKACT_STATE_DIR"),
    ):
        yield Setting(key, f"sockact/{wrap.name}")
        if service.get(key):
            # The first of several is not ours, and nobody would look there.
            yield Setting("Environment", f"{variable}={base}/sockact")
    if gives_up_rights(facts, wrap):
        yield Setting("NoNewPrivileges", "yes")
    if socket_files.go_away(facts, wrap.kept):
        yield Setting("RuntimeDirectoryPreserve", "yes")
    if missing := limits.missing_calls(service):
        yield Setting("SystemCallFilter", " ".join(missing))
        if limits.kills(service):
            yield Setting("SystemCallErrorNumber", "EPERM")
    families = [f for f in ("AF_NETLINK", "AF_UNIX") if limits.lacks_family(service, f)]
    if families:
        yield Setting("RestrictAddressFamilies", " ".join(families))


def gives_up_rights(facts: Facts, wrap: Wrap) -> bool:
    """Could the program run sudo until now? Adoption by seccomp makes an end of that."""
    service = facts.service
    root = service.get("User") in ("", "root", "0") and service.get("DynamicUser") != "yes"
    other = wrap.native or {"shim", "native"} & {*wrap.options}
    return not (root or other) and service.get("NoNewPrivileges") == "no"


_SHOWN = {
    "TimeoutStartSec": "TimeoutStartUSec",
    "TimeoutStopSec": "TimeoutStopUSec",
    "RestartSec": "RestartUSec",
    "StartLimitIntervalSec": "StartLimitIntervalUSec",
    "WatchdogSec": "WatchdogUSec",
}


def merged(facts: Facts, wrap: Wrap, sockets: tuple[Unit, ...]) -> Facts:
    """What systemd would say of it with the drop-in; for `sockact check`'s rules."""
    properties = dict(facts.service.properties)
    text = drop_in(facts, wrap)
    found = unitfile.parse(text)
    for section in found.values():
        for key, values in section.items():
            before = [properties.get(key, "")] if key.endswith("Directory") else []
            properties[_SHOWN.get(key, key)] = " ".join(filter(None, [*before, *values[-1:]]))
    properties |= {"Environment": " ".join(found["Service"].get("Environment", []))}
    properties |= {"ActiveState": "inactive", "KillSignal": "15", "NeedDaemonReload": "no"}
    if not limits.missing_calls(facts.service):
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
