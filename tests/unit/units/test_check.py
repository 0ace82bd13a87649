"""`sockact check`: each rule finds what it is for, and nothing in units as `sockact init` writes
them.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from sockact.cli.setup.check import examine
from sockact.units import unitfile
from sockact.units.check.finding import ERROR, Level
from sockact.units.facts import Facts, Unit

# As systemd shows a service that `sockact init` wrote.
SERVICE = {
    "Type": "notify",
    "NotifyAccess": "main",
    "KillMode": "mixed",
    "KillSignal": "15",
    "TimeoutStartUSec": "2min",
    "TimeoutStopUSec": "1min 30s",
    "RuntimeMaxUSec": "infinity",
    "Restart": "on-failure",
    "RestartUSec": "1s",
    "StartLimitIntervalUSec": "1min",
    "StartLimitBurst": "100",
    "OOMPolicy": "continue",
    "FileDescriptorStoreMax": "64",
    "User": "web",
    "NoNewPrivileges": "yes",
    "SystemCallFilter": "bind kcmp pidfd_getfd pidfd_open pidfd_send_signal seccomp",
    "SystemCallErrorNumber": "1",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_NETLINK AF_UNIX",
    "PrivateNetwork": "no",
    "ProcSubset": "all",
    "RuntimeDirectory": "sockact/web",
    "RuntimeDirectoryPreserve": "no",
    "Requires": "system.slice web.socket",
    "ActiveState": "inactive",
    "NeedDaemonReload": "no",
}
SOCKET = {
    "Accept": "no",
    "FlushPending": "no",
    "Backlog": "4096",
    "Listen": "127.0.0.1:80 (Stream)",
    "ActiveState": "inactive",
    "NeedDaemonReload": "no",
}
START = "/usr/bin/sockact run --name web --directory / -- gunicorn --bind 127.0.0.1:80 a:a"


def facts(
    *, start: str = START, reload: str = "sockact reload web", version: int = 257, **service: str
) -> Facts:
    files = {"Service": {"ExecStart": [start], "ExecReload": [reload] if reload else []}}
    unit = Unit("web.service", {**SERVICE, **service}, files)
    first, second = (tuple(unitfile.program(unitfile.split(line))) for line in (start, reload))
    return Facts(version, unit, (Unit("web.socket", SOCKET),), first, second)


def socket(**properties: str) -> Facts:
    return replace(facts(), sockets=(Unit("web.socket", {**SOCKET, **properties}),))


def test_nothing_is_wrong() -> None:
    assert examine(facts()) == []
    for version in (247, 262):
        assert examine(facts(version=version)) == []


def removing(line: str) -> Facts:
    """A service that removes a file before its start, with a socket file."""
    found = socket(Listen="/run/web.sock (Stream)")
    files = {"Service": {**found.service.files["Service"], "ExecStartPre": [line]}}
    program = (*found.start[: found.start.index("--")], "--", "program")
    return replace(found, service=replace(found.service, files=files), start=program)


def test_a_socket_file_that_is_removed_before_the_start() -> None:
    """systemd has bound it already."""
    (finding,) = examine(removing("/bin/rm -f /run/web.sock"))
    assert (finding.level, finding.setting) == (ERROR, "ExecStartPre=/bin/rm -f /run/web.sock")
    assert examine(removing("/bin/rm -f /run/web.pid")) == []


def run(options: str, program: str = "gunicorn a:a") -> Facts:
    return facts(start=f"/usr/bin/sockact run --name web {options} -- {program}")


@pytest.mark.parametrize(
    ("found", "level", "line"),
    [
        (facts(Type="simple"), "error", "set Type=notify"),
        (facts(Type="notify-reload", version=252), "error", "252 does not support it"),
        (facts(Type="notify-reload"), "error", "reports a failed reload as a success"),
        (facts(NotifyAccess="none"), "error", "set NotifyAccess=main"),
        (facts(NotifyAccess="all"), "warning", "set NotifyAccess=main"),
        (facts(NotifyAccess="all", version=259), "error", "STOPPING=1 is final in systemd 259"),
        (facts(KillMode="control-group"), "error", "set KillMode=mixed"),
        (facts(KillMode="none"), "error", "set KillMode=mixed"),
        (facts(KillSignal="3"), "error", "set KillSignal=SIGTERM"),
        (facts(ExecStop="{ path=/bin/kill }"), "warning", "set ExecStop= (empty)"),
        (facts(FileDescriptorStoreMax="0"), "warning", "set FileDescriptorStoreMax=64"),
        (facts(OOMPolicy="stop"), "warning", "set OOMPolicy=continue"),
        (facts(TimeoutStopUSec="1min"), "warning", "set TimeoutStopSec=90s"),
        (facts(TimeoutStartUSec="1min"), "warning", "set TimeoutStartSec=2min"),
        (run("--drain-timeout 10min"), "warning", "set TimeoutStopSec=630s"),
        (run("--start-timeout 1h"), "warning", "set TimeoutStartSec=3630s"),
        (facts(RuntimeMaxUSec="1d"), "warning", "set RuntimeMaxSec=infinity"),
        (facts(Restart="no"), "warning", "set Restart=on-failure"),
        (facts(Restart="always"), "warning", "set Restart=on-failure"),
        (facts(RestartUSec="100ms"), "warning", "set RestartSec=1s"),
        (facts(NeedDaemonReload="yes"), "warning", "run `systemctl daemon-reload`"),
        (facts(reload=""), "error", "set ExecReload=sockact reload web"),
        (facts(reload="/bin/kill -HUP $MAINPID"), "error", "and never fails"),
        (facts(reload="/bin/true"), "error", "set ExecReload=sockact reload web"),
        (facts(reload="sockact reload other"), "error", "the service is named web"),
        (facts(start="/usr/bin/gunicorn a:a"), "error", "; run `sockact wrap web`"),
        (facts(start="/bin/sh -c 'sockact run -- x'"), "error", "passes the listeners to sh "),
        (run("--drain-timeout soon"), "error", "fix the options"),
        (run("--bind", "x"), "error", "fix the options"),
        (run("", "gunicorn --bind [::1]:80"), "error", "write ListenStream=[::1]:80 "),
        (run("", "gunicorn --bind 0.0.0.0:81"), "error", "set ListenStream=0.0.0.0:81 "),
        (run("", "gunicorn --user www"), "warning", "remove --user"),
        (run("", "/usr/sbin/uwsgi --uid=www"), "warning", "remove --uid=www"),
        (run("", "sudo -u www gunicorn"), "warning", "remove sudo"),
        (facts(SystemCallFilter="bind"), "error", "set SystemCallFilter=seccomp pidfd_getfd"),
        (facts(SystemCallFilter="~pidfd_getfd"), "error", "cannot be made to stop accepting"),
        (
            facts(SystemCallFilter="~kcmp", SystemCallErrorNumber="2147483646"),
            "error",
            "and SystemCallErrorNumber=EPERM",
        ),
        (facts(RestrictAddressFamilies="AF_UNIX"), "error", "AF_INET6 AF_NETLINK"),
        (facts(RestrictAddressFamilies="~AF_NETLINK"), "error", "remove AF_NETLINK from"),
        (facts(PrivateNetwork="yes"), "error", "set PrivateNetwork=no"),
        (facts(NoNewPrivileges="no"), "warning", "set NoNewPrivileges=yes"),
        (facts(RuntimeDirectory=""), "error", "set RuntimeDirectory=sockact/web"),
        (facts(RuntimeDirectory="web"), "warning", "set RuntimeDirectory=sockact/web"),
        (facts(Requires="", Wants="web.socket"), "warning", "set Requires=web.socket"),
        (facts(Requires=""), "error", "set Requires=web.socket"),
        (replace(facts(), sockets=()), "error", "write web.socket"),
        (replace(run("--listen 127.0.0.1:80"), sockets=()), "warning", "clients are refused"),
        (socket(Accept="yes"), "error", "set Accept=no"),
        (socket(FlushPending="yes"), "error", "set FlushPending=no"),
        (socket(Backlog="5"), "warning", "or set Backlog=4096"),
        (socket(NeedDaemonReload="yes"), "error", "run `systemctl daemon-reload`"),
        (socket(Listen="127.0.0.1:80 (Stream)\n/run/x (FIFO)"), "error", "use TCP, UDP or"),
    ],
)
def test_rules(found: Facts, level: str, line: str) -> None:
    (finding,) = examine(found)
    assert finding.level == level
    assert line in str(finding)
    assert "\n" not in str(finding)
    assert re.match("(set|write|run|use|remove|fix) ", finding.write)


def test_without_a_heard_supervisor_a_short_timeout_is_an_error() -> None:
    levels = {f.setting: f.level for f in examine(facts(NotifyAccess="none", TimeoutStopUSec="5s"))}
    assert levels["TimeoutStopSec=5s"] is Level.ERROR


@pytest.mark.parametrize("option", ["--directory %h/app", "--directory=/nonexistent"])
def test_a_directory_that_only_the_service_sees(option: str) -> None:
    assert examine(run(option)) == []


def test_errors_come_first() -> None:
    levels = [f.level for f in examine(facts(OOMPolicy="stop", KillMode="none", Restart="no"))]
    assert levels == [Level.ERROR, Level.WARNING, Level.WARNING]


def test_a_probe_that_cannot_read_proc() -> None:
    found = run("--trial 5s --probe tcp")
    hidden = replace(found.service, properties={**SERVICE, "ProcSubset": "pid"})
    (finding,) = examine(replace(found, service=hidden))
    assert finding.write == "set ProcSubset=all"


def test_a_socket_file_that_goes_away_with_the_service() -> None:
    found = replace(
        run(""), sockets=(Unit("web.socket", {**SOCKET, "Listen": "/run/sockact/web/x (Stream)"}),)
    )
    (finding,) = examine(found)
    assert finding.write == "set ListenStream=/run/x"
    assert examine(replace(found, runtime="/run/user/1")) == []
    listen = {**SOCKET, "Listen": "/run/user/1/sockact/web/x (Stream)"}
    own = replace(found, sockets=(Unit("web.socket", listen),), runtime="/run/user/1")
    (finding,) = examine(own)
    assert finding.write == "set ListenStream=/run/user/1/x"


def test_a_service_that_runs_without_its_socket() -> None:
    found = facts(ActiveState="active")
    (finding,) = examine(found)
    assert "although the service is running" in finding.message


def test_a_socket_that_changed_since_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"ActiveState": "active", "ActiveEnterTimestamp": "@1700000000"}
    found = socket(**started)
    (finding,) = examine(found)
    assert "nobody listens on 127.0.0.1:80" in finding.message
    changed = replace(found.sockets[0], changed=1700000100.5)
    monkeypatch.setattr("sockact.units.check.sockets.find_free", lambda _addresses: [])
    (finding,) = examine(replace(found, sockets=(changed,)))
    assert (finding.level, finding.unit) == (Level.WARNING, "web.socket")
    assert examine(found) == []


def test_the_advice_for_a_changed_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` alone changes nothing on an open socket, nor is one opened for an active service."""
    monkeypatch.setattr("sockact.units.check.sockets.find_free", lambda _addresses: [])
    found = socket(ActiveState="active", ActiveEnterTimestamp="@1700000000")
    changed = replace(found.sockets[0], changed=1700000100.5)
    (finding,) = examine(replace(found, sockets=(changed,)))
    both = "web.socket web.service"
    assert finding.write == (
        f"run `systemctl stop {both} && systemctl start {both}` (clients are refused while the "
        f"service stops, up to 90 s)"
    )


def test_files_that_changed_since_the_start() -> None:
    found = facts()
    stale = replace(found.service, stale=("/etc/default/web",))
    (finding,) = examine(replace(found, service=stale))
    assert str(finding) == (
        "warning: web.service: /etc/default/web has changed since the service was started, and a "
        "reload does not apply it; run `systemctl restart web.service` (clients wait in the socket "
        "meanwhile)"
    )


@pytest.mark.parametrize(
    ("lines", "shown", "message"),
    [
        ("TasksMax=12", {"TasksMax": "12", "TasksCurrent": "8"}, "may not fit in (now: 8)"),
        ("TasksMax=12", {"TasksMax": "12"}, "may not fit in"),
        ("TasksMax=99", {"TasksMax": "99", "TasksCurrent": "8"}, ""),
        ("TasksMax=infinity", {"TasksMax": "18446744073709551615"}, ""),
        ("", {"TasksMax": "9", "TasksCurrent": "8"}, ""),
        ("MemoryMax=1G", {"MemoryMax": "1073741824", "MemoryCurrent": "900000000"}, "(now: 900"),
        ("LimitNPROC=9", {"LimitNPROC": "9", "TasksCurrent": "8"}, "may not fit in"),
    ],
)
def test_limits_that_two_generations_share(lines: str, shown: dict[str, str], message: str) -> None:
    found = facts()
    properties = {**SERVICE, **shown}
    files = {
        "Service": {
            **found.service.files["Service"],
            **unitfile.parse(f"[Service]\n{lines}")["Service"],
        }
    }
    service = replace(found.service, files=files, properties=properties)
    findings = examine(replace(found, service=service))
    assert [message in one.message for one in findings] == ([True] if message else [])


def test_what_may_not_be_executed() -> None:
    (finding,) = examine(facts(NoExecPaths="/", ExecPaths="/usr/bin/gunicorn /usr/lib"))
    assert "sockact may not be executed (/usr/bin/sockact" in finding.message
    assert finding.write.startswith("set ExecPaths=/usr/bin/sockact")
    assert examine(facts(NoExecPaths="/", ExecPaths="/")) == []
    assert examine(facts(NoExecPaths="/home /tmp")) == []


def test_a_program_in_a_container() -> None:
    (finding,) = examine(run("", "/usr/bin/docker run --rm web"))
    assert (finding.level, finding.setting) == (Level.ERROR, "ExecStart=… docker run")
    plain = facts(start="/usr/bin/docker run --rm web", reload="")
    (finding,) = examine(replace(plain, sockets=()))
    assert finding.write == "run sockact in the container instead (docs/containers.md)"


def test_a_service_that_sockact_does_not_run() -> None:
    """Findings that a wrap would fix are not listed."""
    plain = facts(start="gunicorn a:a", reload="", Type="simple", KillMode="control-group")
    (finding,) = examine(replace(plain, sockets=(), runtime="/run/user/1"))
    assert finding.write == "run `sockact wrap --user-unit web`"


def wrapped(**parts: str) -> Facts:
    """Name of a file → its part, besides the unit that init wrote."""
    files = {"web.service": f"[Service]\nExecStart={START}", **parts}
    found = {name.replace("_", "-"): unitfile.parse(text) for name, text in files.items()}
    return replace(facts(), service=replace(facts().service, parts=found))


def test_a_drop_in_that_ours_hides() -> None:
    program = "[Service]\nExecStart=gunicorn --bind 127.0.0.1:80 a:a"
    ours = {"/etc/x/zz_sockact.conf": f"[Service]\nExecStart={START}"}
    assert examine(wrapped(**{"/x/override.conf": program, **ours})) == []
    (finding,) = examine(wrapped(**{"/x/override.conf": program + " --workers 1", **ours}))
    assert str(finding) == (
        "error: web.service: ExecStart=gunicorn --bind 127.0.0.1:80 a:a --workers 1: it has "
        "changed since `sockact wrap`, but zz-sockact.conf overrides it; run `sockact unwrap web`, "
        "then `sockact wrap web`"
    )


def test_a_wrap_that_was_cut_short() -> None:
    unfinished = "[Unit]\nX-Sockact=unfinished"
    (finding,) = examine(wrapped(**{"/etc/x/zz_sockact.conf": unfinished}))
    assert "was interrupted" in finding.message
    assert finding.write == "run `sockact unwrap web`"


def test_a_socket_that_is_off() -> None:
    (finding,) = examine(socket(UnitFileState="disabled"))
    assert finding.level == Level.WARNING
    assert finding.write == "run `systemctl enable --now web.socket`"
    (finding,) = examine(socket(UnitFileState="static"))
    assert finding.write == "run `systemctl start web.socket`"
    (finding,) = examine(socket(UnitFileState="enabled", ActiveState="failed"))
    assert finding.level == Level.ERROR
    assert "it has failed, so clients are refused" in finding.message
