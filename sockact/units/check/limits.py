"""What the service must be allowed, and as whom it runs: rules of `sockact check`."""

from __future__ import annotations

import os

from sockact.core.settings import Adopt
from sockact.units.check.check import Finding, Level
from sockact.units.hardening import CALLS, FAMILIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.settings import Settings
    from sockact.units.facts import Facts, Unit

ERROR, WARNING = Level.ERROR, Level.WARNING
# Above the largest errno there is: what is not allowed kills the process.
_ERRNO_LIMIT = 4096
_WHY_CALL = {
    "seccomp": "the program's bind() can be adopted in Python programs only",
    "pidfd_getfd": "a server in epoll that is not Python has no gate",
    "kcmp": "descriptors that are duplicates of a listener cannot be told apart",
}
_WHY_FAMILY = {
    "AF_NETLINK": "connections cannot be counted, so every drain waits for its deadline",
    "AF_UNIX": "there is no control socket, so it cannot be reloaded",
}
# Program → the options by which it becomes another user.
_DROPS = {
    "gunicorn": ("--user", "-u", "--group", "-g"),
    "hypercorn": ("--user", "-u", "--group", "-g"),
    "uwsgi": ("--uid", "--gid"),
    "twistd": ("--uid", "--gid", "-u", "-g"),
}
_DROPPERS = ("sudo", "su", "runuser", "setpriv", "gosu", "su-exec", "chpst", "start-stop-daemon")


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """Everything about rights."""
    service = facts.service
    yield from _calls(service, settings)
    yield from _families(service)
    yield from _namespaces(service, settings)
    yield from _privileges(service, settings)
    yield from _runtime_directory(service, settings)


def missing_calls(service: Unit) -> list[str]:
    """The system calls of `hardening.CALLS` that it may not make."""
    # An empty list of what is allowed allows everything; "~": all but these.
    text = service.get("SystemCallFilter")
    listed = {word.partition(":")[0] for word in text.removeprefix("~").split()}
    if text.startswith("~"):
        return [call for call in CALLS if call in listed]
    return [call for call in CALLS if listed and call not in listed]


def kills(service: Unit) -> bool:
    """Does a call that is not allowed end the process, instead of failing?"""
    number = service.get("SystemCallErrorNumber")
    return not (number.isdecimal() and 0 < int(number) < _ERRNO_LIMIT)


def lacks_family(service: Unit, family: str) -> bool:
    """Whether it may make no sockets of this family."""
    text = service.get("RestrictAddressFamilies")
    listed = {*text.removeprefix("~").split()}
    if text.startswith("~"):
        return family in listed
    return bool(listed) and family not in listed


def _calls(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    missing = missing_calls(service)
    native = settings is not None and settings.adopt not in (Adopt.AUTO, Adopt.SECCOMP)
    missing = [call for call in missing if not (native and call == "seccomp")]
    if not missing:
        return
    names = " ".join(missing)
    now = f"SystemCallFilter= without {names}"
    if kills(service):
        message = "sockact, or the program, is killed when it makes such a call"
        write = f"write SystemCallFilter={names} and SystemCallErrorNumber=EPERM"
        yield Finding(ERROR, service.name, now, message, write)
        return
    reasons = [_WHY_CALL[call] for call in missing if call in _WHY_CALL]
    message = "; ".join(reasons) or "processes cannot be signalled safely"
    message = message.replace("; ", ", and ")
    level = WARNING if missing == ["kcmp"] else ERROR
    yield Finding(level, service.name, now, message, f"write SystemCallFilter={names}")


def _families(service: Unit) -> Iterator[Finding]:
    for family, message in _WHY_FAMILY.items():
        if service.get("RestrictAddressFamilies").startswith("~"):
            write = f"take {family} out of RestrictAddressFamilies="
        else:
            write = f"write RestrictAddressFamilies={' '.join(FAMILIES)}"
        if lacks_family(service, family):
            now = f"RestrictAddressFamilies= without {family}"
            yield Finding(ERROR, service.name, now, message, write)


def _namespaces(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    for key in ("PrivateNetwork", "NetworkNamespacePath"):
        if service.get(key) not in ("", "no"):
            message = "connections of the listener cannot be seen from another network namespace"
            write = f"write {key}=no" if key == "PrivateNetwork" else f"write {key}= (empty)"
            now = f"{key}={service.get(key)}"
            yield Finding(ERROR, service.name, now, message, write)
    if service.get("ProcSubset") == "pid" and settings and settings.probe == "tcp":
        message = "--probe tcp reads /proc/net, which is hidden"
        yield Finding(ERROR, service.name, "ProcSubset=pid", message, "write ProcSubset=all")


def _privileges(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    seccomp = settings is None or settings.adopt in (Adopt.AUTO, Adopt.SECCOMP)
    root = service.get("User") in ("", "root", "0") and service.get("DynamicUser") != "yes"
    if service.get("NoNewPrivileges") == "no" and seccomp and not root:
        message = "sockact sets it for the program all the same: without root, seccomp needs it"
        write = "write NoNewPrivileges=yes, or use --adopt shim for a program that runs sudo"
        yield Finding(WARNING, service.name, "NoNewPrivileges=no", message, write)
    if settings and (how := _drops(settings.command)):
        message = "the program changes its user, and sockact cannot look into processes of another"
        write = f"write User= and leave {how} out"
        yield Finding(WARNING, service.name, f"ExecStart=… {how}", message, write)


def _drops(program: tuple[str, ...]) -> str:
    """The word by which the program becomes another user."""
    names = [os.path.basename(word) for word in program[:3]]
    if names and names[0] in _DROPPERS:
        return names[0]
    options = next((_DROPS[name] for name in names if name in _DROPS), ())
    return next((word for word in program if word.partition("=")[0] in options), "")


def _runtime_directory(service: Unit, settings: Settings | None) -> Iterator[Finding]:
    if settings is None or "SOCKACT_RUNTIME_DIR=" in service.get("Environment"):
        return
    folders = service.words("RuntimeDirectory")
    write = f"write RuntimeDirectory=sockact/{settings.name}"
    if not folders:
        if service.get("User") not in ("", "root", "0") or service.get("DynamicUser") == "yes":
            message = "there is no RuntimeDirectory=, so it has no place for its control socket"
            yield Finding(ERROR, service.name, "", message, write)
    elif folders[0] != f"sockact/{settings.name}":
        now = f"RuntimeDirectory={folders[0]}"
        message = f"`sockact status {settings.name}` does not look there"
        yield Finding(WARNING, service.name, now, message, write)
