"""What each man page says beyond `--help`, in reStructuredText."""

from __future__ import annotations

from sockact.cli.manual import logs, moving, rotation
from sockact.cli.manual.extra import (
    DIRECTORIES,
    ENVIRONMENT,
    FILES,
    STATE,
    STATUS,
    STATUS_3,
    STATUS_4,
    UNITS,
    Extra,
)

MAIN = Extra(
    more="""
The server's code and command line need no changes. The listening socket is held by systemd, or by
the supervisor if there is no .socket unit, so that the queue of new connections survives every
reload. A reload starts the program anew, as a new generation, waits until it is ready, and lets the
previous generation finish its connections.

`sockact init` writes the units for a program that has none. `sockact wrap` puts an existing service
under sockact. `sockact run` also works without systemd, in a container or a terminal. After that,
deploy with `systemctl reload` or `sockact reload`.
""",
    sections=f"""{STATUS_3}
`sockact run` has further exit statuses; see sockact-run(1).

{ENVIRONMENT}
{FILES}{STATE}{UNITS}
""",
    examples="""
A new service, and its first reload::

    sockact init myapp --listen 127.0.0.1:8000 --enable \\
        -- /srv/myapp/venv/bin/gunicorn --bind 127.0.0.1:8000 app:app
    systemctl start myapp
    systemctl reload myapp

An existing service::

    sockact wrap gunicorn
    systemctl reload gunicorn

Without systemd::

    sockact run --name myapp --listen 127.0.0.1:8000 \\
        -- gunicorn --bind 127.0.0.1:8000 app:app &
    sockact reload myapp
""",
)

_RUN = Extra(
    more="""
PROGRAM binds the addresses of its own configuration. sockact gives it the listeners of the same
port and address family instead, which systemd has passed (LISTEN_FDS) or `--listen` has opened. A
unit starts `sockact run`, which stays the main process of the service. It never reads or writes the
data of a connection.

`--listen` [NAME=]ADDR
    As ListenStream= of systemd.socket(5): 127.0.0.1:8000, [::1]:8000, 8000, /run/x.sock or
    @abstract; udp:127.0.0.1:5300 for datagrams. Ignored if systemd passes listeners. NAME is shown
    by `sockact status`.

`--adopt` seccomp, shim, native, auto
    seccomp replaces sockets in bind(2), for any program (Linux 5.9). shim does so inside Python
    programs. native passes listeners as sd_listen_fds(3) describes, to programs that support it.
    auto uses seccomp if the kernel permits it, else shim.

`--lanes` off, auto, require
    auto: each generation has a listening socket of its own at each address (SO_REUSEPORT), and the
    kernel is told which of them gets new clients. The program is not touched to stop it from
    accepting, in any language. Unix sockets have no lanes; then, or where no further socket may be
    opened, all generations share the listener as with off, and `sockact status` says why. require:
    refuse to start instead.
"""
    + moving.OPTION
    + """
`--warm` http://ADDRESS/PATH, @FILE
    A generation that is ready gets requests for these URLs, of this service, before clients reach
    it, while the previous generation serves. FILE has paths, one in a line, to request at the first
    TCP address of the service; it is read at each reload. Rounds of all URLs are repeated until the
    response times of three rounds in a row are as short as those of the best, or until
    `--warm-timeout` expires. Slow or failed responses are reported and refuse no release. Needs
    lanes.

`--canary` STEPS
    Steps such as 1% 1min, 10% 5min, 50% 5min: the new generation gets 1 % of the new clients for a
    minute, then 10 % for 5 minutes, and so on, and all after the last step. The previous generation
    gets the others. If the new one dies meanwhile or is worse, the previous one gets all. A canary
    needs lanes.
    `sockact canary`, `sockact promote` and `sockact rollback` change its course.

`--judge` promql:URL QUERY < LIMIT, exec:COMMAND
    promql: ask the Prometheus server at URL; the canary is good while the comparison (<, >, <= or
    >=) holds. {generation}, {version}, {baseline} and {baseline_version} in QUERY become quoted
    strings. exec: run COMMAND in a shell; exit status 0 says good, 1 worse, any other that it
    cannot say, and the last line of its output is the reason. A judge that cannot say leaves the
    step in doubt (`--unsure`).
`--canary-background`
    A reload returns when its canary has got its first share; without this option, when it has got
    all clients or has failed. `sockact status` shows how it continues, and how it ended.

`--ready` interest, notify, http://ADDRESS/PATH, exec:COMMAND
    interest: the program waits for connections on each listener. notify: the program sends READY=1
    (sd_notify(3)). http: and exec: are repeated, once the program waits for connections, until they
    succeed.

`--on` EVENT=COMMAND
    pending: a generation was started. running: it is serving; COMMAND is part of the trial, and if
    it fails, the previous generation takes over. draining: it begins to drain; its stop signal
    waits for COMMAND. drained: it has ended. failed: it failed to start or in its trial.
    rolled_back: it is serving again. canary: it gets another share of the new clients, in percent
    in SOCKACT_SHARE; nothing waits for COMMAND. COMMAND is split into words like a shell command,
    but run without a shell. SOCKACT_EVENT, SOCKACT_GENERATION, SOCKACT_VERSION, SOCKACT_HANDOVER,
    SOCKACT_REASON and others are in its environment, and the same facts as JSON on its standard
    input.

`--release-version` auto, path, git, git:DIRECTORY, file:PATH, exec:COMMAND, none
    path: the name of the directory that the symbolic links of the working directory lead to. git:
    the commit that is checked out there. file: and exec: the first line. auto: path if there is a
    symbolic link, else git.

If the first generation fails to start, the service ends. A later generation that crashes is started
again: at once, then after pauses of up to 30 s. After the number of failures given by
--start-limit-burst, reloads need --force.
""",
    sections=f"""
SIGNALS
=======

SIGHUP
    Reload.

SIGUSR1
    Reopen log files, as `sockact rotate` does. The result is logged.

SIGTERM, SIGINT
    Drain, then stop. A second signal ends the drain at once.

SIGQUIT
    Stop without draining.

EXIT STATUS
===========

0
    Stopped, or PROGRAM exited with status 0.

1
    The first generation was not ready within --start-timeout.

2
    Usage error, PROGRAM cannot be executed, or it bound no listener.

other
    Exit status of the first generation, which ended before it was ready (128 plus the number of the
    signal that killed it).

ENVIRONMENT
===========

For `sockact run`:

$LISTEN_FDS, $NOTIFY_SOCKET, $WATCHDOG_USEC, $FDSTORE
    Set by systemd. Not passed on to PROGRAM.

$SOCKACT_STATE_DIR
    Directory that holds one subdirectory per service, with starts.json.
{DIRECTORIES}
For PROGRAM, in addition to its own variables:

$SOCKACT_NAME
    Name of the service.

$SOCKACT_GENERATION
    Number of the generation, from 1.

$PYTHONPATH
    Begins with the directory of the shim.

$SOCKACT_SHIM, $SOCKACT_ADOPT, $SOCKACT_UNIX, $SOCKACT_LOOKS
    For the shim.

$NOTIFY_SOCKET
    Socket of the supervisor, with `--ready notify`.

{FILES}{STATE}
""",
    examples="""
Return to the previous release if the new one fails its health check within 30 s::

    sockact run --name myapp --listen 127.0.0.1:8000 --trial 30s \\
        --probe http://127.0.0.1:8000/health \\
        -- uvicorn --port 8000 app:app
""",
    related=("reload", "status", "init"),
)

_DEV = Extra(
    more="""
Caches, virtual environments, node_modules, logs, databases and files of editors are ignored. Use
--watch-ignore to ignore more.
""",
    sections=f"""
EXIT STATUS
===========

See sockact-run(1).

{FILES}
""",
    examples="""
Watch two directories only::

    sockact dev --listen 8000 --watch app --watch templates \\
        -- python3 manage.py runserver --noreload 8000
""",
    related=("run", "reload"),
)

_INIT = Extra(
    more="""
sockact.unit(7) describes the units. PROGRAM is written with its full path. A warning is printed if
its command line names an address that is not given with --listen.
""",
    sections=f"""{STATUS}
FILES
=====
{UNITS}
""",
    examples="""
Run the service as a user, in the directory of the current release::

    sockact init myapp --listen 127.0.0.1:8000 --user myapp \\
        --directory /srv/myapp/current --enable \\
        -- /srv/myapp/venv/bin/gunicorn --bind 127.0.0.1:8000 app:app

Take program and options from a configuration file::

    sockact init myapp --config myapp --enable

Show the units only::

    sockact init web --listen 0.0.0.0:8080 --dry-run \\
        -- python3 -m http.server 8080 --bind 0.0.0.0
""",
    related=("run", "check", "wrap"),
)

_WRAP = Extra(
    more="""
On TCP, no connection is refused while the service changes over. Socket files and --user-unit take
one restart; the time without a listener is reported.

If anything fails or the command is interrupted, the changes are undone.
""",
    sections=f"""{STATUS}
FILES
=====

/etc/systemd/system/NAME.socket
    The addresses, if the service had no socket.

/etc/systemd/system/NAME.service.d/zz-sockact.conf
    The drop-in. With --user-unit, both are below ~/.config/systemd/user.
""",
    examples="""
Show the changes, then apply them::

    sockact wrap gunicorn --dry-run
    sockact wrap gunicorn

A service that is not running, with a longer drain::

    sockact wrap myapp --listen 127.0.0.1:8000 --drain-timeout 5min
""",
    related=("unwrap", "init", "check"),
)

_CHECK = Extra(
    sections="""
EXIT STATUS
===========

0
    No errors; possibly warnings.

1
    Errors were found, or the units cannot be read.

2
    Usage error.
""",
    related=("init", "wrap"),
)


def _client(*related: str, more: str = "", examples: str = "", status: str = STATUS_3) -> Extra:
    """Return the extra sections of a command that talks to running services."""
    return Extra(f"{status}{ENVIRONMENT}{FILES}", more, examples, related)


_WAIT = """
In a deployment script, wait until the previous release has ended::

    sockact reload --wait-drained --timeout 10min myapp
"""

_COUNTS = """
For each generation, status shows whether it is accepting new connections, and in parentheses by
what it can be told to stop.
"""

COMMANDS = {
    "run": _RUN,
    "dev": _DEV,
    "reload": _client("rollback", "status", "reset", examples=_WAIT, status=STATUS_4),
    "rollback": _client("reload", "run"),
    "canary": _client("reload", "promote", "rollback"),
    "promote": _client("reload", "canary", "rollback"),
    "pause": _client("resume", "reload", "status"),
    "resume": _client("pause", "status"),
    "list": _client("status"),
    "status": _client("reload", "run", more=_COUNTS),
    "history": _client("status", "reload"),
    "logs": logs.EXTRA,
    "rotate": _client("run", more=rotation.COVERED, examples=rotation.EXAMPLE, status=STATUS_4),
    "reset": _client("reload", "status"),
    "stop": _client("run", "status", more="Services with units are stopped by `systemctl stop`."),
    "upgrade": _client(
        *("run", "status"),
        more="When a package of sockact is upgraded, it does this for all services of the system.",
    ),
    "init": _INIT,
    "wrap": _WRAP,
    "unwrap": Extra(STATUS, related=("wrap",)),
    "check": _CHECK,
    "config": Extra(STATUS, related=("run", "reload")),
    "exporter": Extra(
        STATUS,
        "The Python package prometheus_client is required.",
        "Start it on demand, by its .socket unit::\n\n"
        "    systemctl enable --now sockact-exporter.socket",
        related=("status", "history"),
    ),
}
