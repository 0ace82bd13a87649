"""Services that cannot be wrapped, and why: docs/wrap.md. For the command line only."""

from __future__ import annotations

import os

from sockact.units import unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts

# Type= → why its programs cannot be handed over.
_TYPES = {
    "forking": "it goes into the background by itself, where its generations could not be told "
    "apart; keep it in the foreground (without --daemon, or with `daemon off`) and write Type=exec",
    "oneshot": "it is no server that goes on running; if it is one, write Type=exec",
    "dbus": "two generations cannot own one BusName= at a time; if it serves without it, write "
    "Type=exec and take BusName= out",
}
_PREFIXES = {
    "+": "it starts with all rights, past User=; take the + out",
    "!": "it starts with root's rights and becomes another user by itself, whose processes "
    "sockact could not look into; write User= and take the ! out",
    "|": "it is started by a login shell; write the command without the | and the shell",
}
# systemd and its clients talk to these, and by these: nobody could mend what goes wrong.
_SYSTEMS_OWN = ("dbus.", "dbus-broker.", "dbus-daemon.", "systemd-", "user@")
# gunicorn: what makes a successor refuse to start beside its predecessor, or hide.
_GUNICORN = {
    "--pid": "its successor refuses to start while the predecessor has that file",
    "-p": "its successor refuses to start while the predecessor has that file",
    "--daemon": "it goes into the background, where its generations could not be told apart",
    "-D": "it goes into the background, where its generations could not be told apart",
}


def refusal(facts: Facts) -> str:
    """Why it cannot be wrapped, and the line to change; empty when it can."""
    service = facts.service
    if facts.options is not None:
        return "sockact runs it already: change its own ExecStart="
    source = service.get("SourcePath")
    if "/generator" in service.get("FragmentPath"):
        return f"it is generated{f' from {source}' if source else ''}: write a unit of your own"
    if service.get("Transient") == "yes":
        return "it is transient, and gone when it stops: write a unit file"
    if why := _TYPES.get(service.get("Type"), ""):
        return f"Type={service.get('Type')}: {why}"
    if service.name.startswith(_SYSTEMS_OWN):
        return "it is a part of the system, which systemctl itself needs"
    return next(_cannot_run(facts), "")


def _cannot_run(facts: Facts) -> Iterator[str]:
    service = facts.service
    line = service.start
    if not line:
        yield "it has no ExecStart="
    for sign, why in _PREFIXES.items():
        if sign in unitfile.prefixes(line):
            yield f"ExecStart={line}: {why}"
    for key in ("RootDirectory", "RootImage"):
        if service.get(key) not in ("", "/"):
            yield f"{key}={service.get(key)}: sockact is not in there; write {key}= (empty)"
    for key in ("PrivateNetwork", "NetworkNamespacePath"):
        if service.get(key) not in ("", "no"):
            yield f"{key}={service.get(key)}: systemd would listen outside of its network"
    mode = service.get("RuntimeDirectoryMode")
    if mode.isdecimal() and int(mode, 8) & 0o022:
        yield (
            f"RuntimeDirectoryMode={mode}: others could replace the control socket there; "
            f"write RuntimeDirectoryMode=0755"
        )
    for word in facts.start if is_gunicorn(facts) else ():
        if reason := _GUNICORN.get(word.partition("=")[0]):
            yield f"ExecStart=… {word}: {reason}; take it out"
    for socket in facts.sockets:
        if socket.get("Accept") == "yes":
            yield f"{socket.name} has Accept=yes: systemd accepts, and passes no listener"
        elif not socket.running and service.running:
            yield (
                f"{socket.name} belongs to it and is {socket.get('ActiveState')} while it runs: "
                f"start it, or remove it when it is not needed"
            )


def is_gunicorn(facts: Facts) -> bool:
    """Is the program gunicorn, by whatever interpreter?"""
    return any(os.path.basename(word) == "gunicorn" for word in facts.start[:3])
