"""What the manual says beyond `--help`, command by command, in the markup of markup.py."""

from __future__ import annotations

from sockact.cli.manual import rotation
from sockact.cli.manual.extra import (
    ENVIRONMENT,
    FILES,
    FOLDERS,
    STARTS,
    STATUS,
    STATUS_3,
    UNITS,
    Extra,
)

MAIN = Extra(
    more="""
The server's code and its command line stay as they are. systemd (or the supervisor, where there is
no .socket unit) holds the listening socket, so that the queue of new connections survives every
change of process; sockact moves the accepting from one launch of the program, a generation, to the
next.

`sockact init` writes the units for a program that has none. `sockact wrap` puts sockact around a
service that is there. `sockact run` works without systemd, too: in a container or a terminal. From
then on it is `systemctl reload`, or `sockact reload`.
""",
    sections=f"""{STATUS_3}
sockact-run(1) has others.

{ENVIRONMENT}

{FILES}
{STARTS}
{UNITS}

## EXAMPLES

A service from nothing, and its first reload:

    sockact init myapp --listen 127.0.0.1:8000 --enable \\
        -- /srv/myapp/venv/bin/gunicorn --bind 127.0.0.1:8000 app:app
    systemctl start myapp
    systemctl reload myapp

A service that is there already:

    sockact wrap gunicorn
    systemctl reload gunicorn

Without systemd:

    sockact run --name myapp --listen 127.0.0.1:8000 \\
        -- gunicorn --bind 127.0.0.1:8000 app:app &
    sockact reload myapp
""",
)

_RUN = Extra(
    more="""
PROGRAM binds the addresses that it is configured for, and gets the listeners of the same port and
family, which systemd has passed (LISTEN_FDS) or --listen has opened. It is `sockact run` that a
unit starts: it stays the main process, and never reads or writes a byte of a connection.

`--listen` [NAME=]ADDR
:   As in ListenStream= of systemd.socket(5): 127.0.0.1:8000, [::1]:8000, 8000, /run/x.sock or
    @abstract; udp:127.0.0.1:5300 is for datagrams. Ignored when systemd passes listeners. NAME is
    shown by `sockact status`.

`--adopt` seccomp, shim, native, auto
:   seccomp hands the listeners over at the bind(2) of any program (Linux 5.9); shim does so inside
    of Python programs; native passes them as sd_listen_fds(3) says, for programs that know it. auto
    takes seccomp where it works, else shim.

`--ready` interest, notify, http://ADDRESS/PATH, exec:COMMAND
:   interest: it waits for connections on each listener. notify: its own READY=1 (sd_notify(3)).
    http: and exec: are tried until they pass, as soon as it waits for connections.

`--on` EVENT=COMMAND
:   pending: a generation was launched. running: it serves; the command is part of the trial, and if
    it fails, the release is taken back. draining: its drain begins; its stop signal waits for the
    command. drained: it has ended. failed: it came to nothing. rolled_back: it serves again.
    COMMAND is split into words as a shell does, and run without one. It gets SOCKACT_EVENT,
    SOCKACT_GENERATION, SOCKACT_VERSION, SOCKACT_HANDOVER, SOCKACT_REASON and others in its
    environment, and all of it as JSON on its standard input.

`--release-version` auto, path, git, git:DIRECTORY, file:PATH, exec:COMMAND, none
:   path: the name of the directory to which the symbolic links of the working directory lead. git:
    the commit that is checked out there. file: and exec: the first line. auto: path where there is
    a link, else git.

A program that fails at its first launch ends the service. Later it is launched again: at once, and
after the second failure in a row with pauses of up to 30 s. After --start-limit-burst failures a
reload has to be forced.
""",
    sections=f"""
## SIGNALS

SIGHUP
:   Reload.

SIGUSR1
:   As `sockact rotate`; the outcome is said in the journal.

SIGTERM, SIGINT
:   Stop: drain, then end. A second one cuts the drain short.

SIGQUIT
:   Stop without a drain.

## EXIT STATUS

0
:   Stopped, or PROGRAM has ended by itself with 0.

1
:   The first launch was not ready within --start-timeout.

2
:   Bad input; PROGRAM cannot be executed, or bound no listener.

other
:   The first launch ended with that status before it was ready (128 and the signal's number when it
    was killed).

## ENVIRONMENT

Of `sockact run`:

$LISTEN_FDS, $NOTIFY_SOCKET, $WATCHDOG_USEC, $FDSTORE
:   Set by systemd for `sockact run`; PROGRAM does not get them.

$SOCKACT_STATE_DIR
:   Where starts.json is, in a folder NAME.
{FOLDERS}

Of PROGRAM, beside its own:

$SOCKACT_NAME
:   The service's name.

$SOCKACT_GENERATION
:   The number of its generation, from 1.

$PYTHONPATH
:   The shim's folder comes first.

$SOCKACT_SHIM, $SOCKACT_ADOPT, $SOCKACT_UNIX
:   For the shim.

$NOTIFY_SOCKET
:   With --ready notify: the supervisor's.

{FILES}
{STARTS}

## EXAMPLES

    sockact run --name myapp --listen 127.0.0.1:8000 \\
        -- gunicorn --bind 127.0.0.1:8000 app:app

A release that fails its health check within 30 s is taken back:

    sockact run --name myapp --listen 127.0.0.1:8000 --trial 30s \\
        --probe http://127.0.0.1:8000/health \\
        -- uvicorn --port 8000 app:app
""",
    related=("reload", "status", "init"),
)

_DEV = Extra(
    more="""
What editors, tools and programs write for themselves does not count: caches, virtual environments,
node_modules, logs, databases. --watch-ignore adds to that.
""",
    sections=f"""
## EXIT STATUS

As of sockact-run(1).

{FILES}

## EXAMPLES

    sockact dev --listen 127.0.0.1:8000 -- uvicorn --port 8000 app:app
    sockact dev --listen 8000 --watch app --watch templates \\
        -- python3 manage.py runserver --noreload 8000
""",
    related=("run", "reload"),
)

_INIT = Extra(
    more="""
sockact.unit(7) describes what is in the units. PROGRAM is written with its whole path. A warning
says when its command line names an address that no --listen has.
""",
    sections=f"""{STATUS}

## FILES
{UNITS}

## EXAMPLES

    sockact init myapp --listen 127.0.0.1:8000 --user myapp \\
        --directory /srv/myapp/current --enable \\
        -- /srv/myapp/venv/bin/gunicorn --bind 127.0.0.1:8000 app:app

What a configuration file says:

    sockact init myapp --config myapp --enable

Only to look at the units:

    sockact init web --listen 0.0.0.0:8080 --dry-run \\
        -- python3 -m http.server 8080 --bind 0.0.0.0
""",
    related=("run", "check", "wrap"),
)

_WRAP = Extra(
    more="""
On TCP nobody is refused while the service changes hands. For socket files, and with --user-unit, it
is one restart, and how long nobody listened is stated.

What fails, or is interrupted, is taken back.
""",
    sections=f"""{STATUS}

## FILES

/etc/systemd/system/NAME.socket
:   The addresses, if the service had no socket.

/etc/systemd/system/NAME.service.d/zz-sockact.conf
:   The drop-in. Both are below ~/.config/systemd/user with --user-unit.

## EXAMPLES

    sockact wrap gunicorn --dry-run
    sockact wrap gunicorn

A service that does not run, with a longer drain:

    sockact wrap myapp --listen 127.0.0.1:8000 --drain-timeout 5min
""",
    related=("unwrap", "init", "check"),
)

_CHECK = Extra(
    sections="""
## EXIT STATUS

0
:   No errors; perhaps warnings.

1
:   There are errors, or the units cannot be read.

2
:   It was asked in a wrong way.

## EXAMPLES

    sockact check myapp
    sockact check --json myapp.service
""",
    related=("init", "wrap"),
)


def _speaks(examples: str, related: tuple[str, ...], more: str = "") -> Extra:
    """Of a command that speaks to a service that runs."""
    return Extra(f"{STATUS_3}\n{ENVIRONMENT}\n{FILES}\n## EXAMPLES\n{examples}", more, related)


_RELOAD = """
    sockact reload myapp

In a script that deploys, and waits for the connections of the old release, too:

    sockact reload --wait-drained --timeout 10min myapp
"""

_SHOW = """
    sockact status
    sockact status --watch myapp
    sockact status --json myapp
"""

_COUNTS = """
For each generation, status shows whether it is accepting new connections, and in parentheses by
what it can be told to stop.
"""

_STOP = """
    sockact stop myapp
    sockact stop --now myapp
"""

COMMANDS = {
    "run": _RUN,
    "dev": _DEV,
    "reload": _speaks(_RELOAD, ("rollback", "status", "reset")),
    "rollback": _speaks("\n    sockact rollback myapp\n", ("reload", "run")),
    "list": _speaks("\n    sockact list\n    sockact list --json\n", ("status",)),
    "status": _speaks(_SHOW, ("reload", "run"), _COUNTS),
    "history": _speaks(
        "\n    sockact history myapp\n    sockact history --json myapp\n", ("status", "reload")
    ),
    "rotate": _speaks(rotation.EXAMPLE, ("run",), rotation.COVERED),
    "reset": _speaks("\n    sockact reset myapp\n    sockact reload myapp\n", ("reload", "status")),
    "stop": _speaks(
        _STOP, ("run", "status"), "For a service that has units write `systemctl stop NAME`."
    ),
    "upgrade": _speaks(
        "\n    sockact upgrade myapp\n    sockact upgrade --all\n",
        ("run", "status"),
        "Packages of sockact do this for all services of the system when they are upgraded.",
    ),
    "init": _INIT,
    "wrap": _WRAP,
    "unwrap": Extra(f"{STATUS}\n## EXAMPLES\n\n    sockact unwrap gunicorn\n", related=("wrap",)),
    "check": _CHECK,
    "config": Extra(
        f"{STATUS}\n## EXAMPLES\n\n    sockact config check app\n    sockact config diff app\n",
        related=("run", "reload"),
    ),
    "exporter": Extra(
        f"{STATUS}\n## EXAMPLES\n\n    systemctl enable --now sockact-exporter.socket\n",
        "It needs the Python package prometheus_client.",
        ("status", "history"),
    ),
}
