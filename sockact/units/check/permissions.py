"""Rules about a service's sandbox, its user and its directories."""

from __future__ import annotations

import os
import sys

from sockact.units import sandbox, unit_limits
from sockact.units.check.finding import ERROR, WARNING, Finding
from sockact.units.wrap import refusals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.settings import Settings
    from sockact.units.facts import Facts, Unit

_WHY_CALL = {
    "seccomp": "only Python programs can be made to use the listeners",
    "pidfd_getfd": "epoll servers not written in Python cannot be made to stop accepting",
    "kcmp": "duplicates of a listener's descriptor cannot be told apart",
}
_WHY_FAMILY = {
    "AF_NETLINK": "connections cannot be counted, so every drain takes the whole --drain-timeout",
    "AF_UNIX": "there is no control socket, so the service cannot be reloaded",
}
# Program → options that make it switch to another user or group.
_SWITCH_OPTIONS = {
    "gunicorn": ("--user", "-u", "--group", "-g"),
    "hypercorn": ("--user", "-u", "--group", "-g"),
    "uwsgi": ("--uid", "--gid"),
    "twistd": ("--uid", "--gid", "-u", "-g"),
}
# Python maps its extension modules as code, too.
_LIBRARIES = (os.path.dirname(os.path.realpath(os.__file__)),)
_SWITCHERS = ("sudo", "su", "runuser", "setpriv", "gosu", "su-exec", "chpst", "start-stop-daemon")


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """All findings about what the service may do."""
    service = facts.service
    yield from _calls(service, settings)
    yield from _families(service)
    yield from _namespaces(service, settings)
    yield from _privileges(service, settings)
    yield from _runtime_directory(service, settings)
    yield from _executables(facts)
    yield from _limits(service)
    if settings and (client := refusals.container_client(settings.command)):
        message = "the program runs in a container, where sockact cannot hand it a listener"
        write = "run sockact in the container instead (docs/containers.md)"
        yield Finding(ERROR, service.name, f"ExecStart=… {client}", message, write)


def _executables(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    if not service.get("NoExecPaths") or not facts.start:
        return
    own = (os.path.realpath(facts.start[0]), os.path.realpath(sys.executable), *_LIBRARIES)
    denied = [path for path in dict.fromkeys(own) if _is_denied(path, service)]
    if denied:
        message = f"sockact may not be executed ({', '.join(denied)})"
        now = f"NoExecPaths={service.get('NoExecPaths')}"
        yield Finding(ERROR, service.name, now, message, f"set ExecPaths={' '.join(denied)}")


def _is_denied(path: str, service: Unit) -> bool:
    """Whether the longest of the paths above this one is of NoExecPaths=."""

    def longest(key: str) -> int:
        words = [os.path.normpath(word.lstrip("-+")) for word in service.words(key)]
        return max((len(w) for w in words if f"{path}/".startswith(f"{w.rstrip('/')}/")), default=0)

    return longest("NoExecPaths") > longest("ExecPaths")


def _limits(service: Unit) -> Iterator[Finding]:
    for now, used in unit_limits.too_small(service):
        message = "at a reload two generations run side by side, and may not fit in"
        message += f" (now: {used})" if used else ""
        write = "set at least twice of what one generation needs"
        yield Finding(WARNING, service.name, now, message, write)


def _calls(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    missing = sandbox.missing_calls(service)
    native = settings is not None and not settings.adopt.may_be_seccomp
    missing = [call for call in missing if not (native and call == "seccomp")]
    if not missing:
        return
    names = " ".join(missing)
    now = f"SystemCallFilter= without {names}"
    if sandbox.kills(service):
        message = "such a system call kills sockact or the program"
        write = f"set SystemCallFilter={names} and SystemCallErrorNumber=EPERM"
        yield Finding(ERROR, service.name, now, message, write)
        return
    reasons = [_WHY_CALL[call] for call in missing if call in _WHY_CALL]
    message = ", and ".join(reasons) or "processes cannot be signaled safely"
    level = WARNING if missing == ["kcmp"] else ERROR
    yield Finding(level, service.name, now, message, f"set SystemCallFilter={names}")


def _families(service: Unit) -> Iterator[Finding]:
    for family in sandbox.missing_families(service):
        write = f"set RestrictAddressFamilies={' '.join(sandbox.FAMILIES)}"
        if service.get("RestrictAddressFamilies").startswith("~"):
            write = f"remove {family} from RestrictAddressFamilies="
        now = f"RestrictAddressFamilies= without {family}"
        yield Finding(ERROR, service.name, now, _WHY_FAMILY[family], write)


def _namespaces(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    for key in ("PrivateNetwork", "NetworkNamespacePath"):
        if service.get(key) not in ("", "no"):
            message = "sockact cannot see the listener's connections from another network namespace"
            write = f"set {key}=no" if key == "PrivateNetwork" else f"set {key}= (empty)"
            now = f"{key}={service.get(key)}"
            yield Finding(ERROR, service.name, now, message, write)
    if service.get("ProcSubset") == "pid" and settings and settings.probe == "tcp":
        message = "it hides /proc/net, which --probe tcp reads"
        yield Finding(ERROR, service.name, "ProcSubset=pid", message, "set ProcSubset=all")


def _privileges(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    seccomp = settings is None or settings.adopt.may_be_seccomp
    if service.get("NoNewPrivileges") == "no" and seccomp and not service.is_root:
        message = "sockact sets it for the program anyway, as seccomp requires it without root"
        write = "set NoNewPrivileges=yes, or use --adopt shim if the program runs sudo"
        yield Finding(WARNING, service.name, "NoNewPrivileges=no", message, write)
    if settings and (how := _switch(settings.command)):
        message = "the program switches to another user, whose processes sockact cannot inspect"
        write = f"set User= and remove {how}"
        yield Finding(WARNING, service.name, f"ExecStart=… {how}", message, write)


def _switch(program: tuple[str, ...]) -> str:
    """The word that makes the program switch to another user; empty if there is none."""
    names = [os.path.basename(word) for word in program[:3]]
    if names and names[0] in _SWITCHERS:
        return names[0]
    options = next((_SWITCH_OPTIONS[name] for name in names if name in _SWITCH_OPTIONS), ())
    return next((word for word in program if word.partition("=")[0] in options), "")


def _runtime_directory(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    if settings is None or "SOCKACT_RUNTIME_DIR=" in service.get("Environment"):
        return
    directories = service.words("RuntimeDirectory")
    write = f"set RuntimeDirectory=sockact/{settings.name}"
    if not directories:
        if not service.is_root:
            message = "RuntimeDirectory= is missing, so there is no place for the control socket"
            yield Finding(ERROR, service.name, "", message, write)
    elif directories[0] != f"sockact/{settings.name}":
        now = f"RuntimeDirectory={directories[0]}"
        message = f"`sockact status {settings.name}` does not look for the control socket there"
        yield Finding(WARNING, service.name, now, message, write)
