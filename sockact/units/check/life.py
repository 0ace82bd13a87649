"""How the service starts, reloads, restarts and ends: rules of `sockact check`."""

from __future__ import annotations

import os
import signal

from sockact.core.settings import Settings
from sockact.units.check.check import Finding, Level
from sockact.units.unitfile import span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts

ERROR, WARNING = Level.ERROR, Level.WARNING
_SHELLS = ("sh", "bash", "dash", "zsh", "env", "systemd-run")
_NOTIFY_RELOAD_SINCE = 253
_STOPPING_FINAL_SINCE = 259
_MARGIN = 20.0


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """Everything about the life of the service."""
    if facts.service.get("NeedDaemonReload") == "yes":
        message = "its file changed on disk, and systemd has not read it again"
        yield Finding(WARNING, facts.service.name, "", message, "run `systemctl daemon-reload`")
    yield from _start(facts)
    yield from _notify(facts)
    yield from _reload(facts, settings)
    yield from _stop(facts)
    yield from _times(facts, settings or Settings("", ()))
    yield from _restart(facts)


def _start(facts: Facts) -> Iterator[Finding]:
    unit = facts.service.name
    if facts.options is not None:
        return
    now = facts.service.written("ExecStart")
    message = "LISTEN_PID= of systemd names the shell, so that sockact gets no listener"
    yield Finding(ERROR, unit, now, message, "write ExecStart=sockact run …, without it")


def by_shell(facts: Facts) -> bool:
    """Is there a shell, or its like, between systemd and sockact?"""
    first = facts.start[0] if facts.start else ""
    return os.path.basename(first) in _SHELLS and any("sockact" in word for word in facts.start)


def _notify(facts: Facts) -> Iterator[Finding]:
    service, version = facts.service, facts.version
    kind, access = service.get("Type"), service.get("NotifyAccess")
    if kind == "notify-reload" and version >= _NOTIFY_RELOAD_SINCE:
        message = "a reload that fails counts as done"
        write = "write Type=notify, and ExecReload=sockact reload NAME"
        yield Finding(ERROR, service.name, f"Type={kind}", message, write)
    elif kind != "notify":
        message = "systemd does not wait until the program serves"
        if kind == "notify-reload":
            message = f"systemd {version} does not know it ({_NOTIFY_RELOAD_SINCE} does)"
        yield Finding(ERROR, service.name, f"Type={kind}", message, "write Type=notify")
    if access == "none":
        message = "systemd does not hear that the program serves, nor that work goes on"
        yield Finding(ERROR, service.name, "NotifyAccess=none", message, "write NotifyAccess=main")
    elif access in ("all", "exec"):
        final = version >= _STOPPING_FINAL_SINCE
        message = "a process of a generation that ends may speak for the whole service"
        if final:
            message += f", and STOPPING=1 is final in systemd {version}"
        level = ERROR if final else WARNING
        yield Finding(
            level, service.name, f"NotifyAccess={access}", message, "write NotifyAccess=main"
        )


def _reload(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    unit = facts.service.name
    name = settings.name if settings else "NAME"
    write = f"write ExecReload=sockact reload {name}"
    if not facts.reload:
        yield Finding(ERROR, unit, "", "there is no ExecReload=, so it cannot be reloaded", write)
    elif facts.reloads is None:
        now = facts.service.written("ExecReload")
        if os.path.basename(facts.reload[0]) == "kill" and {"-HUP", "HUP"} & {*facts.reload}:
            message = "systemctl reload returns before the successor serves, and never fails"
            yield Finding(ERROR, unit, now, message, write)
        else:
            yield Finding(ERROR, unit, now, "sockact does not reload it", write)
    elif settings and facts.reloads not in ("", settings.name):
        now = f"ExecReload=… sockact reload {facts.reloads}"
        yield Finding(ERROR, unit, now, f"the service is called {settings.name}", write)


def _stop(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    mode = service.get("KillMode")
    if mode == "control-group":
        message = "SIGTERM reaches the program at once, before it has drained"
        yield Finding(ERROR, service.name, f"KillMode={mode}", message, "write KillMode=mixed")
    elif mode in ("process", "none"):
        message = "what is left of a generation outlives the service, and may hold its address"
        yield Finding(ERROR, service.name, f"KillMode={mode}", message, "write KillMode=mixed")
    number = service.get("KillSignal")
    if number not in ("", str(int(signal.SIGTERM)), str(int(signal.SIGINT))):
        message = "to sockact that signal does not mean: drain and stop"
        write = "write KillSignal=SIGTERM (--stop-signal is what the program gets)"
        yield Finding(ERROR, service.name, f"KillSignal={number}", message, write)
    if service.get("ExecStop"):
        message = "it runs before sockact is told to drain"
        now = service.written("ExecStop")
        yield Finding(WARNING, service.name, now, message, "write ExecStop= (empty)")
    if service.get("FileDescriptorStoreMax") == "0":
        now = "FileDescriptorStoreMax=0"
        message = "systemd keeps nothing for when sockact crashes, and logs so at each start"
        yield Finding(WARNING, service.name, now, message, "write FileDescriptorStoreMax=64")
    if service.get("OOMPolicy") in ("stop", "kill"):
        now = f"OOMPolicy={service.get('OOMPolicy')}"
        message = "one worker that the kernel kills for memory ends the whole service"
        yield Finding(WARNING, service.name, now, message, "write OOMPolicy=continue")


def _times(facts: Facts, settings: Settings) -> Iterator[Finding]:
    service = facts.service
    start = settings.start_timeout + settings.trial + settings.kill_timeout
    stop = settings.drain_timeout + settings.kill_timeout
    wanted = (
        ("TimeoutStartSec", "TimeoutStartUSec", start, "a start, or a reload,"),
        ("TimeoutStopSec", "TimeoutStopUSec", stop, "the drain"),
    )
    # The supervisor asks for more time as long as work goes on, if systemd listens.
    heard = service.get("NotifyAccess") != "none"
    for key, name, need, what in wanted:
        has = service.span(name)
        if has < need:
            message = f"{what} may take {span(need)}"
            message += ", and only EXTEND_TIMEOUT_USEC keeps it going" if heard else ""
            write = f"write {key}={span(need + _MARGIN)}"
            now = f"{key}={span(has)}"
            yield Finding(WARNING if heard else ERROR, service.name, now, message, write)
    if service.span("RuntimeMaxUSec") < float("inf"):
        now = f"RuntimeMaxSec={service.get('RuntimeMaxUSec')}"
        message = "systemd ends the service after that time, whoever it serves"
        yield Finding(WARNING, service.name, now, message, "write RuntimeMaxSec=infinity")


def _restart(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    restart = service.get("Restart")
    if restart in ("no", "on-success"):
        message = "nothing starts it again when the supervisor is killed"
        now = f"Restart={restart}"
        yield Finding(WARNING, service.name, now, message, "write Restart=on-failure")
        return
    if restart == "always":
        message = "a program that ends by itself, with status 0, is started again and again"
        yield Finding(WARNING, service.name, "Restart=always", message, "write Restart=on-failure")
    interval = service.span("StartLimitIntervalUSec")
    burst = service.get("StartLimitBurst")
    pause = service.span("RestartUSec")
    if burst.isdecimal() and int(burst) * pause < interval < float("inf"):
        now = f"StartLimitBurst={burst} in {span(interval)}, RestartSec={span(pause)}"
        message = "a crash loop ends in a failed service, and takes the .socket unit down"
        write = (
            "write RestartSec=1s, and StartLimitIntervalSec=60s and StartLimitBurst=100 in [Unit]"
        )
        yield Finding(WARNING, service.name, now, message, write)
