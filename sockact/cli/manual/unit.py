"""sockact.unit(7): the .socket and .service units of sockact, and their settings.

The units are those of units/examples; a test compares the settings with them.
"""

from __future__ import annotations

import textwrap

from sockact.cli.manual.manpage import Page
from sockact.units.render import templates

_TEXT = """
DESCRIPTION
===========

A service of sockact has a .socket unit, which holds the listeners, and a .service unit, which
starts the program by `sockact run`. `sockact init` writes both, `sockact wrap` writes a drop-in for
an existing service, and `sockact check` finds settings that would drop connections.

A SERVICE AND ITS SOCKET
========================

myapp.socket::

{socket}

The beginning of myapp.service::

{service}

After a change of the .socket unit, run `systemctl daemon-reload` and restart both units.
EnvironmentFile= is read when the service starts, not on reload. --directory replaces
WorkingDirectory=: a symbolic link to the current release is resolved again at each reload.

INSTANCES
=========

`systemctl start sockact@myapp` runs the program of /etc/sockact/myapp.env, by the templates
sockact@.service and sockact@.socket::

{env}

The addresses are in a drop-in, sockact@myapp.socket.d/listen.conf::

{listen}

A DROP-IN FOR AN EXISTING SERVICE
=================================

`sockact wrap NAME` writes NAME.socket and NAME.service.d/zz-sockact.conf. The drop-in has the
original command line after `sockact run`, and those of the settings below that differ. `sockact
wrap NAME --dry-run` shows both files.

WITHOUT A SOCKET UNIT
=====================

With `sockact run --listen` in ExecStart=, the supervisor opens the listeners. `systemctl reload`
works as with a .socket unit; `systemctl restart` refuses connections for a moment.

SETTINGS OF THE SERVICE
=======================

`Type=notify`
    The service is started when the program is ready. Not notify-reload, which cannot report a
    failed reload.

`NotifyAccess=main`
    `sockact run` is the main process and notifies systemd.

`ExecReload=sockact reload myapp`
    Returns when the new generation is serving, or has failed. Its exit status becomes that of
    `systemctl reload`.

`Requires=myapp.socket`
    Together with After=. Without it, the service starts without listeners.

`KillMode=mixed`
    With control-group, systemd would send SIGTERM to the program itself, before it has drained.

`Restart=on-failure`
    A program that exits with status 0 is not restarted.

`RestartSec=1s`, `StartLimitIntervalSec=60s`, `StartLimitBurst=100`
    Hitting this limit also takes the socket down, so that connections are refused. With one restart
    per second, it is never hit.

`OOMPolicy=continue`
    If one worker is killed for lack of memory, the service continues.

`TimeoutStartSec=2min`
    Also applies to reloads. Must be longer than --start-timeout, --trial and --kill-timeout
    together. `sockact run` asks systemd for more time while it needs it.

`TimeoutStopSec=90s`
    Must be longer than --drain-timeout and --kill-timeout together.

`RuntimeDirectory=sockact/myapp`
    Directory of the control socket, where `sockact status` looks for it.

`StateDirectory=sockact/myapp`
    Directory of recorded failures. The program may use it, too.

SETTINGS OF THE SOCKET
======================

`ListenStream=127.0.0.1:8000`
    Port and address family must be those of the program's own configuration. ListenDatagram= for
    datagrams. With several addresses, the program must bind all of them to be ready.

`NoDelay=yes`
    Most servers set it themselves; sockact cannot always see that.

FreeBind=yes
    For the address of a network interface that may come up after the socket.

SocketUser=USER
    For a socket file whose mode or owner the program changes.

SANDBOXING
==========

The units forbid what a server does not need (`systemd-analyze security NAME`). These settings are
necessary as they are, or may surprise:

`SystemCallFilter=@system-service seccomp pidfd_getfd kcmp`
    seccomp(2) is needed to replace sockets in bind(2), pidfd_getfd(2) and kcmp(2) to take a
    listener out of the program's epoll(7) instances.

`RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK`
    AF_NETLINK is needed to count connections (sock_diag(7)).

`ProtectProc=invisible`
    Processes of the same user stay visible. ProcSubset=pid would hide /proc/net, which is needed.

`MemoryDenyWriteExecute=yes`
    Must be no for programs that generate code at run time: Node, Java, PyPy, numba.

`ProtectSystem=strict`
    Only the directories above and /tmp are writable. Add others with ReadWritePaths=.

`NoNewPrivileges=yes`
    Needed by the seccomp filter, unless the service runs as root. The program cannot use sudo(8).

WATCHDOG
========

`WatchdogSec=30s`
    sockact sends WATCHDOG=1 while connections are being accepted, the --watchdog-probe succeeds
    and, with `--ready notify`, the program's own WATCHDOG=1 arrives in time. Otherwise it replaces
    the generation first. Only if that does not help, it stops sending, and systemd restarts the
    service.

FILE DESCRIPTOR STORE
=====================

`FileDescriptorStoreMax=64`
    If the supervisor is killed, systemd keeps the listeners of --listen until the service has been
    started again, so that no connection is refused. Listeners of a .socket unit are systemd's
    anyway.

SEE ALSO
========

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
    return Page("sockact.unit", 7, "units of services that sockact runs", text)


def _bare(text: str) -> str:
    """A file without its comments and empty lines, indented."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return textwrap.indent("\n".join(lines), "    ")
