"""Rules about how a service starts, reloads, restarts and stops."""

from __future__ import annotations

import os
import signal

from sockact.core import numbers
from sockact.core.settings import Settings
from sockact.units import timeouts
from sockact.units.check.finding import ERROR, WARNING, Finding
from sockact.units.unitfile import readable_span
from sockact.units.wrap import drop_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.units.facts import Facts

_SHELLS = ("sh", "bash", "dash", "zsh", "env", "systemd-run")
_NOTIFY_RELOAD_SINCE = 253
_STOPPING_FINAL_SINCE = 259


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """All findings about the service's life."""
    if facts.service.get("NeedDaemonReload") == "yes":
        message = "a file of the unit has changed on disk since systemd loaded it"
        yield Finding(WARNING, facts.service.name, "", message, "run `systemctl daemon-reload`")
    yield from _stale(facts)
    yield from _start(facts)
    yield from _notify(facts)
    yield from _reload(facts, settings)
    yield from _stop(facts)
    yield from _times(facts, settings or Settings("", ()))
    yield from _restart(facts)


def _stale(facts: Facts) -> Iterator[Finding]:
    name = facts.service.name
    # The advice for a drop-in that ours hides is another one.
    for path in () if drop_in.hidden_start(facts.service) else facts.service.stale:
        message = (
            f"{path} has changed since the service was started, and a reload does not apply it"
        )
        write = f"run `{facts.systemctl} restart {name}` (clients wait in the socket meanwhile)"
        yield Finding(WARNING, name, "", message, write)


def _start(facts: Facts) -> Iterator[Finding]:
    unit = facts.service.name
    if facts.options is not None:
        return
    now = facts.service.written("ExecStart")
    first = os.path.basename(facts.start[0])
    message = f"systemd passes the listeners to {first} (LISTEN_PID), so sockact gets none"
    yield Finding(
        ERROR,
        unit,
        now,
        message,
        f"run sockact directly, without {first}: set ExecStart=sockact run …",
    )


def started_by_shell(facts: Facts) -> bool:
    """Whether a shell or the like starts sockact."""
    first = facts.start[0] if facts.start else ""
    return os.path.basename(first) in _SHELLS and any("sockact" in word for word in facts.start)


def _notify(facts: Facts) -> Iterator[Finding]:
    service, version = facts.service, facts.version
    kind, access = service.get("Type"), service.get("NotifyAccess")
    if kind == "notify-reload" and version >= _NOTIFY_RELOAD_SINCE:
        message = "systemd reports a failed reload as a success"
        write = "set Type=notify and ExecReload=sockact reload NAME"
        yield Finding(ERROR, service.name, f"Type={kind}", message, write)
    elif kind != "notify":
        message = "systemd does not wait until the program is ready"
        if kind == "notify-reload":
            message = f"systemd {version} does not support it (since {_NOTIFY_RELOAD_SINCE})"
        yield Finding(ERROR, service.name, f"Type={kind}", message, "set Type=notify")
    if access == "none":
        message = "systemd accepts no notifications, such as READY=1 or a request for more time"
        yield Finding(ERROR, service.name, "NotifyAccess=none", message, "set NotifyAccess=main")
    elif access in ("all", "exec"):
        final = version >= _STOPPING_FINAL_SINCE
        message = "any process of the program can send notifications for the whole service"
        if final:
            message += f", and STOPPING=1 is final in systemd {version}"
        level = ERROR if final else WARNING
        yield Finding(
            level, service.name, f"NotifyAccess={access}", message, "set NotifyAccess=main"
        )


def _reload(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    unit = facts.service.name
    name = settings.name if settings else "NAME"
    write = f"set ExecReload=sockact reload {name}"
    if not facts.reload:
        yield Finding(
            ERROR, unit, "", "ExecReload= is missing, so the service cannot be reloaded", write
        )
    elif facts.reloads is None:
        now = facts.service.written("ExecReload")
        if os.path.basename(facts.reload[0]) == "kill" and {"-HUP", "HUP"} & {*facts.reload}:
            message = (
                "`systemctl reload` returns before the new generation is ready, and never fails"
            )
            yield Finding(ERROR, unit, now, message, write)
        else:
            yield Finding(ERROR, unit, now, "it does not call `sockact reload`", write)
    elif settings and facts.reloads not in ("", settings.name):
        now = f"ExecReload=… sockact reload {facts.reloads}"
        yield Finding(ERROR, unit, now, f"the service is named {settings.name}", write)


def _stop(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    mode = service.get("KillMode")
    if mode == "control-group":
        message = "SIGTERM reaches the program before its connections are drained"
        yield Finding(ERROR, service.name, f"KillMode={mode}", message, "set KillMode=mixed")
    elif mode in ("process", "none"):
        message = "processes of the program may outlive the service and keep its address in use"
        yield Finding(ERROR, service.name, f"KillMode={mode}", message, "set KillMode=mixed")
    number = service.get("KillSignal")
    if number not in ("", str(int(signal.SIGTERM)), str(int(signal.SIGINT))):
        message = "sockact does not drain and stop on this signal"
        write = "set KillSignal=SIGTERM (--stop-signal is the signal for the program)"
        yield Finding(ERROR, service.name, f"KillSignal={number}", message, write)
    if service.get("ExecStop"):
        message = "it runs before sockact starts to drain"
        now = service.written("ExecStop")
        yield Finding(WARNING, service.name, now, message, "set ExecStop= (empty)")
    if service.get("FileDescriptorStoreMax") == "0":
        now = "FileDescriptorStoreMax=0"
        message = "systemd keeps no listeners if sockact crashes, and logs a message at each start"
        yield Finding(WARNING, service.name, now, message, "set FileDescriptorStoreMax=64")
    if service.get("OOMPolicy") in ("stop", "kill"):
        now = f"OOMPolicy={service.get('OOMPolicy')}"
        message = (
            "systemd stops the whole service if the kernel kills one worker for lack of memory"
        )
        yield Finding(WARNING, service.name, now, message, "set OOMPolicy=continue")


def _times(facts: Facts, settings: Settings) -> Iterator[Finding]:
    service = facts.service
    start, stop = timeouts.starting(settings), timeouts.stopping(settings)
    wanted = (
        ("TimeoutStartSec", "TimeoutStartUSec", start, "a start or reload"),
        ("TimeoutStopSec", "TimeoutStopUSec", stop, "a stop"),
    )
    # The supervisor asks for more time while it works, if systemd accepts its notifications.
    heard = service.get("NotifyAccess") != "none"
    for key, name, need, what in wanted:
        has = service.span(name)
        if has < need:
            message = f"{what} may take {readable_span(need)}"
            message += ", so sockact has to ask systemd for more time" if heard else ""
            write = f"set {key}={numbers.span(need + timeouts.MARGIN)}"
            now = f"{key}={numbers.span(has)}"
            yield Finding(WARNING if heard else ERROR, service.name, now, message, write)
    if service.span("RuntimeMaxUSec") < float("inf"):
        now = f"RuntimeMaxSec={service.get('RuntimeMaxUSec')}"
        message = "systemd stops the service after this time, even if it is serving clients"
        yield Finding(WARNING, service.name, now, message, "set RuntimeMaxSec=infinity")


def _restart(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    restart = service.get("Restart")
    if restart in ("no", "on-success"):
        message = "systemd does not restart the service if the supervisor is killed"
        now = f"Restart={restart}"
        yield Finding(WARNING, service.name, now, message, "set Restart=on-failure")
        return
    if restart == "always":
        message = "a program that exits with status 0 is restarted, too"
        yield Finding(WARNING, service.name, "Restart=always", message, "set Restart=on-failure")
    if service.reaches_start_limit:
        spans = service.span("StartLimitIntervalUSec"), service.span("RestartUSec")
        interval, pause = map(numbers.span, spans)
        burst = service.get("StartLimitBurst")
        now = f"StartLimitBurst={burst} in {interval}, RestartSec={pause}"
        message = "a crash loop reaches the start limit, which also stops the .socket unit"
        write = "set RestartSec=1s, and StartLimitIntervalSec=60s and StartLimitBurst=100 in [Unit]"
        yield Finding(WARNING, service.name, now, message, write)
