"""sockact.unit(7): how a .socket and a .service unit for sockact look, and why.

The units shown are those of the folder units/; a test looks for the settings in them.
"""

from __future__ import annotations

import textwrap

from sockact.cli.manual import markup
from sockact.cli.manual.roff import Page
from sockact.units.render import templates

_TEXT = """
## DESCRIPTION

A service of sockact is a .socket unit, which holds the listeners, and a .service unit that starts
`sockact run` with the program behind it. `sockact init` writes both, `sockact wrap` writes a
drop-in for a service that is there, and `sockact check` looks for settings that break the promise.

## A SERVICE AND ITS SOCKET

myapp.socket:

{socket}

The beginning of myapp.service:

{service}

A change of the .socket unit takes `systemctl daemon-reload`, and a restart of both units.
EnvironmentFile= is read when the service starts, not at a reload. --directory stands for
WorkingDirectory=: a release symlink is followed anew at each reload.

## INSTANCES

`systemctl start sockact@myapp` runs what is in /etc/sockact/myapp.env, by the templates
sockact@.service and sockact@.socket:

{env}

The addresses are in a drop-in, sockact@myapp.socket.d/listen.conf:

{listen}

## A DROP-IN FOR A SERVICE THAT IS THERE

`sockact wrap NAME` writes NAME.socket, and NAME.service.d/zz-sockact.conf with the same command
line behind `sockact run` and those of the settings below that differ. `sockact wrap NAME --dry-run`
shows them.

## WITHOUT A SOCKET UNIT

`sockact run --listen` in ExecStart= opens the listeners. `systemctl reload` is then the same;
`systemctl restart` refuses clients for a moment.

## SETTINGS OF THE SERVICE

`Type=notify`
:   READY=1 comes when the program serves. Not notify-reload, which cannot say that a reload has
    failed.

`NotifyAccess=main`
:   `sockact run` is the main process, and speaks for the service.

`ExecReload=sockact reload myapp`
:   Returns when the new generation serves, or has failed: its exit status is that of
    `systemctl reload`.

`Requires=myapp.socket`
:   With After=. Without it the service starts without a listener.

`KillMode=mixed`
:   control-group would send SIGTERM to the program itself, before it has drained.

`Restart=on-failure`
:   A program that ends with status 0 means it.

`RestartSec=1s`, `StartLimitIntervalSec=60s`, `StartLimitBurst=100`
:   A service that hits its start limit takes the .socket unit down, and clients are refused; at one
    restart a second that never happens by itself.

`OOMPolicy=continue`
:   One worker that is killed for memory does not end the service.

`TimeoutStartSec=2min`
:   Counts for reloads, too. Longer than --start-timeout, --trial and --kill-timeout together; while
    it works, `sockact run` asks for more time.

`TimeoutStopSec=90s`
:   Longer than --drain-timeout and --kill-timeout together.

`RuntimeDirectory=sockact/myapp`
:   The control socket is where `sockact status` looks for it.

`StateDirectory=sockact/myapp`
:   The failures are remembered here. The program may use it, too.

## SETTINGS OF THE SOCKET

`ListenStream=127.0.0.1:8000`
:   With the port and the family that the program's own configuration has. For datagrams
    ListenDatagram=. Of several the program has to bind each before it counts as ready.

`NoDelay=yes`
:   As most servers set it, for where sockact cannot see that they do.

FreeBind=yes
:   For an address of one interface: at boot the socket may be there before the address.

SocketUser=USER
:   For a socket file: programs change its mode or owner.

## WHAT THE SERVICE MAY DO

The units forbid what a server does not need (`systemd-analyze security NAME`). These are needed as
they are, or may surprise:

`SystemCallFilter=@system-service seccomp pidfd_getfd kcmp`
:   seccomp(2) adopts the program's bind(2), pidfd_getfd(2) and kcmp(2) move its epoll entries.

`RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK`
:   By AF_NETLINK connections are counted (sock_diag(7)).

`ProtectProc=invisible`
:   The processes of the same user stay visible. Not ProcSubset=pid, which hides /proc/net.

`MemoryDenyWriteExecute=yes`
:   no for programs that make code at run time: Node, Java, PyPy, numba.

`ProtectSystem=strict`
:   Only the folders above and /tmp can be written to. For more: ReadWritePaths=.

`NoNewPrivileges=yes`
:   The filter needs it anyway where the service is not root's. The program cannot run sudo(8).

## WATCHDOG

`WatchdogSec=30s`
:   systemd hears WATCHDOG=1 as long as clients are served: the accept queue moves, --watchdog-probe
    passes, and with --ready notify the program's own WATCHDOG=1 comes in time. A generation for
    which that is not so is replaced by a new one first. Only when that does not help, the pings
    stop and systemd acts.

## FILE DESCRIPTOR STORE

`FileDescriptorStoreMax=64`
:   systemd keeps the listeners of --listen while a service whose supervisor was killed is started
    again, so that nobody is refused. Those of a .socket unit are systemd's anyway.

## SEE ALSO

sockact(1), sockact-init(1), sockact-run(1), sockact-wrap(1), sockact-check(1), systemd.socket(5),
systemd.service(5), systemd.exec(5)
"""


def page() -> Page:
    """The page."""
    files = templates.files()
    text = _TEXT.format(
        socket=_bare(files["examples/myapp.socket"]),
        service=_bare(files["examples/myapp.service"].partition("RuntimeDirectory=")[0]),
        env=_bare(files["examples/myapp.env"]),
        listen=_bare(files["examples/sockact@myapp.socket.d/listen.conf"]),
    )
    purpose = "units of services that sockact runs"
    return Page("sockact.unit", 7, purpose, markup.sections(text))


def _bare(text: str) -> str:
    """A file without its comments and empty lines, as code."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return textwrap.indent("\n".join(lines), "    ")
