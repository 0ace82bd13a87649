"""`sockact wrap`: refusals, the drop-in, and the announced changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockact.cli.setup.check import examine
from sockact.core.settings import Settings
from sockact.units import unitfile
from sockact.units.facts import Facts, Unit
from sockact.units.wrap import differences, drop_in, marked_files, unwrapping
from sockact.units.wrap.drop_in import Wrap

# As systemd shows a service that says nothing but ExecStart= and User=.
PLAIN = {
    "Type": "simple",
    "NotifyAccess": "none",
    "KillMode": "control-group",
    "KillSignal": "15",
    "SendSIGHUP": "no",
    "TimeoutStartUSec": "1min 30s",
    "TimeoutStopUSec": "1min 30s",
    "RuntimeMaxUSec": "infinity",
    "WatchdogUSec": "0",
    "FileDescriptorStoreMax": "0",
    "Restart": "no",
    "RestartUSec": "100ms",
    "StartLimitIntervalUSec": "10s",
    "StartLimitBurst": "5",
    "OOMPolicy": "stop",
    "User": "web",
    "NoNewPrivileges": "no",
    "RuntimeDirectoryPreserve": "no",
    "RuntimeDirectoryMode": "0755",
    "ActiveState": "active",
    "NeedDaemonReload": "no",
    "FragmentPath": "/etc/systemd/system/web.service",
}
START = "/usr/bin/gunicorn --bind 127.0.0.1:80 a:a"
WRAP = Wrap("web", "/usr/bin/sockact", ("web.socket",))
SOCKET = {"Accept": "no", "ActiveState": "active", "Listen": "127.0.0.1:80 (Stream)"}


def facts(*lines: str, start: str = START, sockets: tuple[Unit, ...] = (), **shown: str) -> Facts:
    """`lines` are of its [Service] section."""
    files = unitfile.parse("\n".join(["[Service]", f"ExecStart={start}", *lines]))
    service = Unit("web.service", {**PLAIN, **shown}, files)
    words = tuple(unitfile.program(unitfile.split(start)))
    return Facts(257, service, sockets, words, ())


def written(found: Facts, wrap: Wrap = WRAP, *, unfinished: bool = False) -> dict[str, list[str]]:
    """The settings of the drop-in, of all sections."""
    sections = unitfile.parse(drop_in.render(found, wrap, unfinished=unfinished))
    return {key: values for section in sections.values() for key, values in section.items()}


def line(start: str, wrap: Wrap = WRAP) -> str:
    """What follows `sockact run --name web`."""
    return drop_in.start_line(facts(start=start), wrap).partition(" --name web ")[2]


@pytest.mark.parametrize(
    "words",
    [
        "/usr/bin/gunicorn a:a",
        r"""/srv/%i/x "a b" 'c d' e\x20f $OPTIONS ${HOME}/x %n $$ %% -- --name other""",
        "python -m http.server",
        '"/opt/my app/run" a',
    ],
)
def test_the_words_of_the_program_stay_as_they_are(words: str) -> None:
    assert line(words) == f"-- {words}"


@pytest.mark.parametrize(
    ("start", "result"),
    [
        ("@/usr/bin/x other-name a", "-- /usr/bin/x a"),
        ("-/usr/bin/x a", "-- /usr/bin/x a"),
        ("/srv/$x/run $x", "-- /srv/$$x/run $x"),
    ],
)
def test_settings_that_are_not_kept(start: str, result: str) -> None:
    assert line(start) == result


def test_no_variables_are_no_variables_either() -> None:
    start = drop_in.start_line(facts(start=":-/usr/bin/x $A"), WRAP)
    assert start == ":/usr/bin/sockact run --name web -- /usr/bin/x $A"


@pytest.mark.parametrize(
    ("directory", "option"),
    [
        ("/srv/web/current", "--directory /srv/web/current "),
        ("%S/web", "--directory %S/web "),
        ("/srv/my app", '--directory "/srv/my app" '),
        ("/srv/$x", "--directory /srv/$$x "),
        ("~", ""),
        ("-/srv/web", ""),
    ],
)
def test_the_directory_is_looked_up_at_each_reload(directory: str, option: str) -> None:
    found = facts(f"WorkingDirectory={directory}", start="/x")
    assert f"--name web {option}-- /x" in drop_in.start_line(found, WRAP)


@pytest.mark.parametrize(
    ("found", "options"),
    [
        (facts(), []),
        (facts(Type="notify"), []),
        (facts(start="/x", Type="notify"), ["--ready", "notify"]),
        (facts(start="/x", Type="notify-reload"), ["--ready", "notify"]),
        (facts(KillSignal="3"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=/bin/kill -s QUIT $MAINPID"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=/bin/kill -INT $MAINPID"), ["--stop-signal", "SIGINT"]),
        (facts("ExecStop=kill -SIGUSR1 $MAINPID"), ["--stop-signal", "SIGUSR1"]),
        (facts("ExecStop=kill -quit $MAINPID"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=kill -s sigint $MAINPID"), ["--stop-signal", "SIGINT"]),
        (facts("ExecStop=kill -n 3 $MAINPID"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=kill --signal=QUIT $MAINPID"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=kill --signal 2 $MAINPID"), ["--stop-signal", "SIGINT"]),
        (
            facts("ExecStop=/sbin/start-stop-daemon --stop --signal INT --pidfile /run/x"),
            ["--stop-signal", "SIGINT"],
        ),
        (
            facts("ExecStop=start-stop-daemon -K --signal=quit -p /run/x", KillSignal="2"),
            ["--stop-signal", "SIGQUIT"],
        ),
        (facts("ExecStop=start-stop-daemon -K -s QUIT"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=start-stop-daemon -Kp /run/x"), []),
        (facts("ExecStop=kill --signal="), []),
        (facts("ExecStop=kill -9 $MAINPID"), []),
        (facts("ExecStop=kill -s"), []),
        (facts("ExecStop=kill $MAINPID"), []),
        (facts("ExecStop=/usr/bin/x stop", KillSignal="3"), ["--stop-signal", "SIGQUIT"]),
        (facts("ExecStop=kill -s NONSENSE $MAINPID"), []),
    ],
)
def test_options_that_the_service_means(found: Facts, options: list[str]) -> None:
    assert drop_in.own_options(found, WRAP) == options


def test_a_given_option_takes_precedence() -> None:
    wrap = replace(WRAP, options=("--ready", "interest"), native=True)
    assert drop_in.own_options(facts(start="/x", Type="notify"), wrap) == ["--adopt", "native"]


@pytest.mark.parametrize(
    ("found", "key", "value"),
    [
        (facts(), "Type", ["notify"]),
        (facts(), "NotifyAccess", ["main"]),
        (facts(), "ExecReload", ["/usr/bin/sockact reload web"]),
        (facts(), "Requires", ["web.socket"]),
        (facts(), "After", ["web.socket"]),
        (facts(), "Restart", ["on-failure"]),
        (facts(Restart="always"), "Restart", None),
        (facts(), "RestartSec", ["1s"]),
        (facts(StartLimitIntervalUSec="0"), "RestartSec", None),
        (facts(), "StartLimitBurst", ["100"]),
        (facts(), "OOMPolicy", ["continue"]),
        (facts(OOMPolicy="continue"), "OOMPolicy", None),
        (facts(), "TimeoutStartSec", ["2min"]),
        (facts(TimeoutStartUSec="infinity"), "TimeoutStartSec", None),
        (facts(), "TimeoutStopSec", None),
        (facts(TimeoutStopUSec="5s"), "TimeoutStopSec", ["90s"]),
        (facts(WatchdogUSec="10s"), "WatchdogSec", None),
        (facts(), "KillMode", ["mixed"]),
        (facts(KillMode="mixed"), "KillMode", None),
        (facts(KillSignal="3"), "KillSignal", ["SIGTERM"]),
        (facts(SendSIGHUP="yes"), "SendSIGHUP", ["no"]),
        (facts("ExecStop=/x"), "ExecStop", []),
        (facts(PIDFile="/run/x"), "PIDFile", []),
        (facts(), "SyslogIdentifier", ["gunicorn"]),
        (facts(SyslogIdentifier="web"), "SyslogIdentifier", None),
        (facts(), "RuntimeDirectory", ["sockact/web"]),
        (facts(), "Environment", None),
        (facts(RuntimeDirectory="web"), "Environment", ["SOCKACT_RUNTIME_DIR=%t/sockact"]),
        (facts(StateDirectory="web"), "Environment", ["SOCKACT_STATE_DIR=%S/sockact"]),
        (facts(), "NoNewPrivileges", ["yes"]),
        (facts(User=""), "NoNewPrivileges", None),
        (facts(SystemCallFilter="bind"), "SystemCallErrorNumber", ["EPERM"]),
        (facts(SystemCallFilter="~kcmp", SystemCallErrorNumber="1"), "SystemCallFilter", ["kcmp"]),
        (
            facts(RestrictAddressFamilies="AF_INET AF_UNIX"),
            "RestrictAddressFamilies",
            ["AF_NETLINK"],
        ),
        (facts(RestrictAddressFamilies="~AF_UNIX"), "RestrictAddressFamilies", ["AF_UNIX"]),
    ],
)
def test_the_drop_in(found: Facts, key: str, value: list[str] | None) -> None:
    assert written(found).get(key) == value


@pytest.mark.parametrize(
    ("user", "capabilities", "changes", "value"),
    [
        ("", "cap_setgid cap_setuid", True, ["CAP_SYS_PTRACE CAP_KILL"]),
        ("", "cap_setgid cap_setuid", False, None),
        ("", "cap_kill cap_setuid cap_sys_ptrace", True, None),
        ("", "cap_setuid cap_sys_ptrace", True, ["CAP_KILL"]),
        ("web", "cap_setuid", True, None),
    ],
)
def test_a_program_that_becomes_another_user(
    user: str, capabilities: str, changes: bool, value: list[str] | None
) -> None:
    """Root without these cannot read its bind(), nor stop it."""
    found = facts(User=user, CapabilityBoundingSet=capabilities)
    wrap = replace(WRAP, changes_user=changes)
    assert written(found, wrap).get("CapabilityBoundingSet") == value
    said = "\n".join(differences.describe(found, wrap))
    assert ("CapabilityBoundingSet= also has " in said) == bool(value)


def test_a_socket_file_in_the_folder_of_the_service_stays() -> None:
    found = facts(RuntimeDirectory="web")
    assert "RuntimeDirectoryPreserve" not in written(
        found, replace(WRAP, socket_paths=("/run/x/y",))
    )
    kept = written(found, replace(WRAP, socket_paths=("/run/web/y",)))
    assert kept["RuntimeDirectoryPreserve"] == ["yes"]
    wrap = replace(WRAP, socket_paths=("/run/user/1/web/y",))
    assert "RuntimeDirectoryPreserve" not in written(found, wrap)
    own = written(replace(found, runtime="/run/user/1"), wrap)
    assert own["RuntimeDirectoryPreserve"] == ["yes"]


@pytest.mark.parametrize(
    "line",
    [
        "/bin/rm -f /run/web.sock",
        "-rm /run/web.sock",
        "/bin/sh -c 'test -S /run/web.sock && unlink /run/web.sock'",
        "rm -rf /run/*.sock",
        "rm -f %t/%N.sock",
    ],
)
def test_commands_that_remove_the_socket_file(line: str) -> None:
    """They would remove systemd's, at each start: for good."""
    found = facts(f"ExecStartPre={line}", "ExecStartPre=/x migrate", f"ExecStopPost={line}")
    wrap = replace(WRAP, socket_paths=("/run/web.sock",))
    kept = written(found, wrap)
    assert (kept["ExecStartPre"], kept["ExecStopPost"]) == (["/x migrate"], [])
    assert f"ExecStartPre={line} is left out: " in "\n".join(differences.describe(found, wrap))
    other = replace(WRAP, socket_paths=("/srv/other",))
    assert "ExecStartPre" not in written(found, other)


def test_other_commands_around_a_start_stay() -> None:
    lines = ("ExecStartPre=/bin/mkdir -p /run/web.sock", "ExecStartPre=/bin/rm -f /run/web.pid")
    wrap = replace(WRAP, socket_paths=("/run/web.sock",))
    assert "ExecStartPre" not in written(facts(*lines), wrap)


def test_the_old_program_ends_by_its_own_settings() -> None:
    found = facts("ExecStop=/bin/kill -s QUIT $MAINPID", KillSignal="3", TimeoutStopUSec="5s")
    ending = {"ExecStop", "KillMode", "KillSignal", "TimeoutStopSec"}
    assert ending <= written(found).keys()
    assert not ending & written(found, unfinished=True).keys()


@pytest.mark.parametrize(
    "found",
    [
        facts(),
        facts(Type="notify", KillSignal="3", TimeoutStopUSec="5s", SendSIGHUP="yes"),
        facts(
            RuntimeDirectory="web",
            StateDirectory="web",
            SystemCallFilter="bind",
            RestrictAddressFamilies="~AF_NETLINK",
        ),
        facts("ExecStop=/x", ExecStop="{ path=/x }"),
    ],
)
def test_the_check_has_nothing_to_say(found: Facts) -> None:
    socket = Unit("web.socket", {"ActiveState": "inactive", "Listen": SOCKET["Listen"]})
    assert examine(drop_in.merged(found, WRAP, (socket,))) == []


def test_the_check_sees_an_address_that_nobody_holds() -> None:
    socket = Unit("web.socket", {"ActiveState": "inactive", "Listen": "127.0.0.1:81 (Stream)"})
    (finding,) = examine(drop_in.merged(facts(), WRAP, (socket,)))
    assert "the program binds 127.0.0.1:80" in finding.message


@pytest.mark.parametrize(
    ("now", "limit"), [("30s", 120.0), ("10min", 600.0), ("infinity", float("inf"))]
)
def test_how_long_a_start_may_take(now: str, limit: float) -> None:
    """It includes ExecStartPre=."""
    found = facts(TimeoutStartUSec=now)
    assert drop_in.start_limit(found, WRAP) == limit
    written_one = written(found).get("TimeoutStartSec")
    assert written_one == (["2min"] if limit == 120.0 else None)


def test_times_that_are_asked_for() -> None:
    times = Settings("", (), start_timeout=600.0, trial=60.0, drain_timeout=300.0)
    found = written(facts(), replace(WRAP, settings=times))
    assert (found["TimeoutStartSec"], found["TimeoutStopSec"]) == (["690s"], ["330s"])


def test_what_changes() -> None:
    found = facts(
        "ExecReload=/bin/kill -HUP $MAINPID",
        "ExecStop=/x stop",
        "ExecStartPre=/x migrate",
        "ExecStartPost=/x $MAINPID",
        start="-@/x other",
        RuntimeDirectory="web",
        StateDirectory="web",
        PIDFile="/run/x.pid",
    )
    said = "\n".join(differences.describe(found, WRAP))
    for hint in (
        "instead of running /bin/kill -HUP $MAINPID",
        "`systemctl stop web.socket web`",
        "sockact drains the program and stops it with SIGTERM (add --stop-signal if it needs",
        "ExecStartPre= runs at a start",
        "$MAINPID is the process of sockact",
        "the @ of ExecStart=",
        "the - of ExecStart=",
        "on-failure, instead of no",
        "sudo",
        "$RUNTIME_DIRECTORY has a second entry",
        "$STATE_DIRECTORY has a second entry",
        "PIDFile=/run/x.pid is ignored",
    ):
        assert hint in said
    assert "stop both" not in "\n".join(differences.describe(found, replace(WRAP, native=True)))
    kill = facts("ExecStop=kill -QUIT $MAINPID")
    assert "--stop-signal" not in "\n".join(differences.describe(kill, WRAP))
    given = replace(WRAP, options=("--stop-signal", "QUIT"))
    assert "--stop-signal" not in "\n".join(differences.describe(found, given))
    assert "gunicorn's own, earlier READY=1" in "\n".join(
        differences.describe(facts(Type="notify"), WRAP)
    )


def test_marks() -> None:
    text = marked_files.marked("[Unit]\nDescription=ä\n")
    assert marked_files.is_ours(text)
    assert marked_files.is_unchanged(text)
    assert marked_files.is_ours(f"{text}X=1\n")
    assert not marked_files.is_unchanged(f"{text}X=1\n")
    for other in ("", "[Unit]\n", f"\n{text}", text.partition("\n")[2]):
        assert not marked_files.is_ours(other)
        assert not marked_files.is_unchanged(other)
    assert unitfile.parse(text) == {"Unit": {"Description": ["ä"]}}


def test_a_drop_in_that_is_read_after_ours() -> None:
    def overriding(name: str, text: str) -> str:
        found = facts()
        part = {f"/etc/systemd/system/web.service.d/{name}": unitfile.parse(text)}
        return drop_in.overriding(replace(found, service=replace(found.service, parts=part)), WRAP)

    assert not overriding("override.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n")
    assert not overriding("zzz.conf", "[Service]\nEnvironment=A=1\nMemoryMax=1G\n")
    assert overriding("zzz.conf", "[Service]\nMemoryMax=1G\nType=exec\n") == (
        "/etc/systemd/system/web.service.d/zzz.conf, which systemd reads after zz-sockact.conf, "
        "has Type="
    )
    assert overriding("zzz.conf", "[Service]\nExecReload=\n").endswith(" has ExecReload=")


def test_the_files_of_a_unit() -> None:
    text = "# /etc/a\n[Service]\n# /etc/b\nType=exec\n\n# /etc/c\n[Unit]\n"
    assert unitfile.parts(text, ["/etc/a", "/etc/c"]) == {
        "/etc/a": "[Service]\n# /etc/b\nType=exec\n\n",
        "/etc/c": "[Unit]\n\n",
    }


def test_the_way_back_ends_sockact_as_it_has_to_end() -> None:
    found = facts("ExecStop=/x", TimeoutStopUSec="5s")
    own = marked_files.marked(drop_in.render(found, WRAP))
    text = unwrapping.transition(own, "web.socket", "none")
    assert marked_files.is_unchanged(text)
    assert unitfile.parse(text) == {
        "Unit": {"X-Sockact": ["unfinished"], "Conflicts": ["web.socket"], "After": ["web.socket"]},
        "Service": {
            "NotifyAccess": ["main"],
            "UnsetEnvironment": ["NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC"],
            "ExecStop": [],
            "KillMode": ["mixed"],
            "TimeoutStopSec": ["90s"],
        },
    }
    assert "web.socket" not in unwrapping.transition(own, "", "none")
    # A service that speaks to systemd goes on to do so, by its own setting.
    assert "Notify" not in unwrapping.transition(own, "web.socket", "main")


@pytest.mark.parametrize(
    ("lines", "access"),
    [
        ("", "none"),
        ("Type=exec", "none"),
        ("Type=notify", "main"),
        ("Type=notify-reload", "main"),
        ("Type=notify\nNotifyAccess=all", "all"),
        ("WatchdogSec=5", "main"),
        ("WatchdogSec=0", "none"),
        ("FileDescriptorStoreMax=3", "main"),
    ],
)
def test_whose_notifications_a_service_accepts_without_the_drop_in(lines: str, access: str) -> None:
    own = unitfile.parse(f"[Service]\n{lines}\n")
    ours = unitfile.parse("[Service]\nType=notify\nNotifyAccess=main\nWatchdogSec=30s\n")
    parts = {"/etc/web.service": own, "/etc/web.service.d/zz-sockact.conf": ours}
    assert unwrapping.own_access(Unit("web.service", PLAIN, parts=parts)) == access
