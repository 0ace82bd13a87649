"""Services that cannot be wrapped, and why: docs/wrap.md."""

from __future__ import annotations

import os

from sockact.units import unitfile
from sockact.units.facts import odd_environment_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sockact.units.facts import Facts, Unit

# Type= → the reason.
_TYPES = {
    "forking": "a program that goes into the background cannot be replaced; keep it in the "
    "foreground (without --daemon, or with `daemon off`) and set Type=exec",
    "oneshot": "this type is for programs that do not keep running; if this program does, "
    "set Type=exec",
    "dbus": "two generations cannot own the same BusName=; if the program works without it, set "
    "Type=exec and remove BusName=",
}
# Prefix of ExecStart= → the reason.
_PREFIXES = {
    "+": "the program runs with full privileges and ignores User=; remove the +",
    "!": "the program starts as root and switches to another user, whose processes sockact cannot "
    "inspect; set User= and remove the !",
    "|": "a login shell starts the program; remove the | and write the command without a shell",
}
# systemd and systemctl depend on these: if one failed, it could not be repaired.
_ESSENTIAL = ("dbus.", "dbus-broker.", "dbus-daemon.", "systemd-", "user@")
_CONTAINERS = ("docker", "podman", "nerdctl")
_PID_FILE = "a new generation refuses to start while the previous one has this file"
_BACKGROUND = "a program that goes into the background cannot be replaced"
_GUNICORN = {"--pid": _PID_FILE, "-p": _PID_FILE, "--daemon": _BACKGROUND, "-D": _BACKGROUND}


def find_reason(facts: Facts) -> str:
    """Why the service cannot be wrapped, and what to change; empty if it can be."""
    service = facts.service
    if facts.options is not None:
        return "sockact runs it already; change its own ExecStart= instead"
    source = service.get("SourcePath")
    if "/generator" in service.get("FragmentPath"):
        return f"it is generated{f' from {source}' if source else ''}; write a unit of your own"
    if service.get("Transient") == "yes":
        return "it is a transient unit, which is gone when it stops; write a unit file"
    if why := _TYPES.get(service.get("Type"), ""):
        return f"Type={service.get('Type')}: {why}"
    if service.name.startswith(_ESSENTIAL):
        return "systemctl itself depends on it"
    return next(_reasons(facts), "")


def odd_environment(service: Unit) -> str:
    """Why systemd may not be able to start the service again; empty if nothing is known to hinder
    it.
    """
    path = odd_environment_file(service)
    return path and (
        f"EnvironmentFile={path} is not a regular file, for which systemd may wait without end; "
        "replace it with a regular file"
    )


def _reasons(facts: Facts) -> Iterator[str]:
    service = facts.service
    line = service.start
    if not line:
        yield "it has no ExecStart="
    elif not facts.start or not facts.start[0]:
        yield f"ExecStart={line} names no program; write its path"
    if why := odd_environment(service):
        yield why
    if client := container_client(facts.start):
        yield (
            f"ExecStart={client} …: the program runs in a container, in another network and not as "
            f"a process of the service; run sockact in the container instead (docs/containers.md)"
        )
    for sign, why in _PREFIXES.items():
        if sign in unitfile.prefixes(line):
            yield f"ExecStart={line}: {why}"
    for key in ("RootDirectory", "RootImage"):
        if service.get(key) not in ("", "/"):
            yield f"{key}={service.get(key)}: sockact is not installed there; set {key}= (empty)"
    for key in ("PrivateNetwork", "NetworkNamespacePath"):
        if service.get(key) not in ("", "no"):
            yield f"{key}={service.get(key)}: systemd would listen outside of this network"
    mode = service.get("RuntimeDirectoryMode")
    if mode.isdecimal() and int(mode, 8) & 0o022:
        yield (
            f"RuntimeDirectoryMode={mode}: others could replace the control socket; "
            f"set RuntimeDirectoryMode=0755"
        )
    for word in facts.start if is_gunicorn(facts) else ():
        if reason := _GUNICORN.get(word.partition("=")[0]):
            yield f"ExecStart=… {word}: {reason}; remove the option"
    for socket in facts.sockets:
        if socket.get("Accept") == "yes":
            yield (
                f"{socket.name} has Accept=yes: systemd accepts the connections itself and passes "
                f"no listener"
            )
        elif not socket.running and service.running:
            yield (
                f"{socket.name} is {socket.get('ActiveState')} while the service is running, so "
                f"the program listens by itself; let it listen with `systemctl stop {service.name} "
                f"&& systemctl start {socket.name} {service.name}` at a quiet time (clients are "
                f"refused meanwhile), or remove its file if it is not needed"
            )


def container_client(words: Sequence[str]) -> str:
    """The client of a container engine that a command line starts; empty if it starts none."""
    if words and os.path.basename(words[0]) in _CONTAINERS:
        action = next((word for word in words[1:] if word in ("run", "start", "exec")), "")
        return f"{os.path.basename(words[0])} {action}" if action else ""
    return ""


def is_gunicorn(facts: Facts) -> bool:
    """Whether the program is gunicorn, started directly or by an interpreter."""
    return any(os.path.basename(word) == "gunicorn" for word in facts.start[:3])
