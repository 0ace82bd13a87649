"""`sockact wrap` and `unwrap` that fail, are interrupted or killed, or are undone at once."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from bench.load import Kind, Load
from tests.servers.apps import answers
from tests.servers.commands import WSGI
from tests.support import wait
from tests.system.site import DROP_IN, SOCKET, UNITS, debian
from tests.system.units import ADDRESS, USER

if TYPE_CHECKING:
    from tests.system.site import Site

LOAD = Load(Kind.NEW, 4, pause=0.005)
# The steps of `sockact wrap` up to the restart.
BESIDE = """
import sys
from sockact.cli.unit_files.wrapped import files_of
from sockact.units.manager import Manager
from sockact.units.wrap import marked_files, wrapping
from sockact.units.wrap.service import Service

service = Service(Manager(), files_of(sys.argv[1], user_unit=False))
found = [one for one in service.bound() if one.address.port == 8000]
text = marked_files.marked("[Socket]\\nListenStream=127.0.0.1:8000\\n")
with wrapping._duplicate(found) as sockets:
    assert wrapping._listen_beside(service, text, sockets)
    unit = f"[Unit]\\nX-Sockact=unfinished\\nRequires={service.files.socket}\\n"
    wrapping._write_all(service, text, marked_files.marked(unit))
    assert sockets.pass_connections()
"""
# And the message if it stops there.
FAILING = """
import socket, sys
from sockact.cli.unit_files.wrapped import files_of
from sockact.core.errors import OperatorError
from sockact.units.manager import Manager
from sockact.units.wrap import marked_files, wrapping
from sockact.units.wrap.outage import Outage
from sockact.units.wrap.service import Service

service = Service(Manager(), files_of(sys.argv[1], user_unit=False))
found = [one for one in service.bound() if one.address.port == 8000]
text = marked_files.marked("[Socket]\\nListenStream=127.0.0.1:8000\\n")
required = marked_files.marked(f"[Unit]\\nRequires={service.files.socket}\\n")
outage = Outage([found[0].address])
clients = []

class Sockets(wrapping.ServiceSockets):
    def pass_connections(self):
        super().pass_connections()
        clients.extend(socket.create_connection(("127.0.0.1", 8000)) for _ in range(3))
        raise OSError("no further")

wrapping.ServiceSockets = Sockets
try:
    wrapping.wrap(service, wrapping.Texts(text, required, required), outage, found)
except OperatorError as error:
    print(outage.cut_off, outage.seconds, type(error).__name__)
"""
# At gRPC's own port, which is in the range of net.ipv4.ip_local_port_range.
ODD = """
import http.server
http.server.test(http.server.SimpleHTTPRequestHandler, port=50051, bind="127.0.0.1")
"""
WHOLE = "from tests.servers.apps.wsgi import app\n"
BROKEN = f"import nothere\n{WHOLE}"
END = """
for pid in $(ls /proc | grep '^[0-9]' | sort -n); do
    if tr '\\0' ' ' < /proc/$pid/cmdline | grep -q '[s]ockact[^ ]* wrap'; then
        kill -{} $pid
        {}
    fi
done
true
"""


# It speaks to systemd if it can, as gunicorn does; its sandbox has no Unix sockets.
NOTIFYING = """
import http.server, os, socket
if "NOTIFY_SOCKET" in os.environ:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
http.server.test(http.server.SimpleHTTPRequestHandler, port=8000, bind="127.0.0.1")
"""
TREE = "find /etc /opt /run /srv /var/lib -xdev -not -path '/run/systemd/*'"


def test_a_hardened_service_comes_back_as_it_was(site: Site) -> None:
    """Without $NOTIFY_SOCKET, as it is not Type=notify, and without a file or directory of ours."""
    site.machine.write("/opt/zoo/notifying.py", NOTIFYING)
    text = site.install(
        "Type=exec",
        "ExecStart=/usr/bin/python3 /opt/zoo/notifying.py",
        "RestrictAddressFamilies=AF_INET AF_INET6",
    ).replace(f"User={USER}", "DynamicUser=yes")
    site.machine.write(f"{UNITS}/{site.unit}", text)
    site.systemctl("daemon-reload")
    site.systemctl("restart", site.unit)
    site.wait_serving()
    before = site.run("sh", "-c", TREE).stdout
    site.wrap()
    site.systemctl("reload", site.unit)
    site.unwrap()
    site.wait_serving()
    site.is_plain(text)
    assert site.show("NotifyAccess") == "none"
    environment = site.machine.path(f"/proc/{site.main_pid}/environ").read_text()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & {
        word.partition("=")[0] for word in environment.split("\0")
    }
    assert site.run("sh", "-c", TREE).stdout == before


def test_a_program_that_does_not_start_wrapped(site: Site) -> None:
    picky = "import os\nif 'SOCKACT_NAME' in os.environ:\n    raise RuntimeError('not in there')\n"
    site.machine.write("/opt/zoo/picky.py", f"{picky}from tests.servers.apps.wsgi import app\n")
    start = f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} picky:app"
    text = site.install(start, "Restart=always")
    before = site.main_pid
    done = site.wrap(check=False)
    assert done.returncode == 1
    warning, reason, *quoted = done.stderr.splitlines()
    assert reason == (
        "sockact: site.service: its release does not start under sockact (--force wraps it "
        "anyway); all changes were undone"
    )
    assert "RuntimeError: not in there" in "".join(quoted)
    assert site.main_pid == before
    done = site.wrap("--force", check=False)
    assert done.returncode == 1
    warning, reason, *quoted = done.stderr.splitlines()
    assert warning.startswith("sockact: warning: site.service: Restart=always: ")
    assert reason.startswith(
        "sockact: site.service did not start; all changes were undone; connections were refused "
    )
    assert "RuntimeError: not in there" in "".join(quoted)
    site.wait_serving()
    site.is_plain(text)
    assert site.main_pid != before


def test_a_program_that_does_not_start_at_all(site: Site) -> None:
    """gunicorn listens before a worker fails; that must not count as a success."""
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} whole:app")
    site.machine.write("/opt/zoo/whole.py", BROKEN)
    before, files = site.main_pid, site.run("sh", "-c", TREE).stdout
    with site.load(LOAD) as load:
        done = site.wrap(check=False)
        report = load.stop()
    assert not report.failures(), report.explain()
    assert done.returncode == 1
    reason, *quoted = done.stderr.splitlines()
    assert "site.service: its release does not start under sockact" in reason
    assert "ModuleNotFoundError: No module named 'nothere'" in "".join(quoted)
    assert site.main_pid == before
    assert site.run("sh", "-c", TREE).stdout == files
    site.is_plain(text)
    done = site.wrap("--force", check=False)
    assert done.returncode == 1
    reason, *quoted = done.stderr.splitlines()
    assert "site.service did not start; site.service is DOWN: it does not start as before" in reason
    assert "then run `systemctl start site`; connections were refused for " in reason
    assert "all changes were undone;" not in reason
    assert "ModuleNotFoundError: No module named 'nothere'" in "".join(quoted)
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    site.systemctl("start", site.unit)
    site.wait_serving()
    site.is_plain(text)


@pytest.mark.parametrize("option", ["", "--preload"], ids=["bound", "unbound"])
def test_a_program_that_does_not_start_is_not_unwrapped(site: Site, option: str) -> None:
    """A reload tries it before anything is changed."""
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} {option} whole:app")
    site.wrap()
    site.machine.write("/opt/zoo/whole.py", BROKEN)
    with site.load(LOAD) as load:
        done = site.unwrap(check=False)
        report = load.stop()
    assert not report.failures(), report.explain()
    reason, *quoted = done.stderr.splitlines()
    assert "would not start again: a test reload failed; fix the program, or add --force" in reason
    assert reason.endswith("; the service is still wrapped")
    assert "ModuleNotFoundError: No module named 'nothere'" in "".join(quoted)
    assert site.findings() == []
    done = site.unwrap("--force", check=False)
    reason, *quoted = done.stderr.splitlines()
    assert "site.service ended soon after its start; site.service is DOWN" in reason
    assert "No module named 'nothere'" in "".join(quoted)
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    site.systemctl("start", site.unit)
    site.unwrap()
    site.is_plain(text)


def test_a_socket_whose_file_was_removed(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.wrap()
    site.machine.path(SOCKET).unlink()
    done = site.unwrap(check=False)
    assert f"{SOCKET} of site.socket is gone; run `systemctl daemon-reload`, " in done.stderr
    assert done.stderr.count("\n") == 1
    site.systemctl("daemon-reload")
    done = site.unwrap()
    assert "connections were refused for " in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_a_wrapped_service_that_is_reverted(site: Site) -> None:
    """`systemctl revert` removes only the drop-in."""
    text = site.install(*debian(site.machine))
    site.wrap()
    site.systemctl("revert", site.unit)
    found = " ".join(site.findings())
    assert "was interrupted" in found
    done = site.unwrap()
    assert f"removed {SOCKET}" in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_a_program_that_does_not_start_unwrapped(site: Site) -> None:
    condition = 'test -n "$$SOCKACT_NAME" -o ! -e /run/moody'
    site.install(f"ExecStart=/bin/sh -c '{condition} && exec gunicorn --bind {ADDRESS} {WSGI}'")
    site.wrap()
    site.machine.write("/run/moody", "")
    done = site.unwrap(check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "site.service ended soon after its start; the service is still wrapped" in done.stderr
    assert site.ask() == answers.fast("1").decode()
    assert site.findings() == []
    site.machine.path("/run/moody").unlink()
    site.unwrap()


@pytest.mark.parametrize(
    ("signal", "then"),
    [("INT", "exit"), ("INT", ""), ("KILL", "exit")],
    ids=["one", "both", "kill"],
)
def test_an_interrupt_undoes_everything(site: Site, signal: str, then: str) -> None:
    """Ctrl-C reaches both processes."""
    slow = "import os, time\nif 'SOCKACT_NAME' in os.environ:\n    time.sleep(60)\n"
    site.machine.write("/opt/zoo/slow.py", f"{slow}from tests.servers.apps.wsgi import app\n")
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} slow:app")
    words = ("sockact", "wrap", "--force", site.unit)
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), *words], stderr=subprocess.PIPE, text=True
    ) as wrapping:

        def starting() -> bool:
            return set(site.active().values()) == {"activating", "active"}

        wait.until(starting, "the wrapped program to be started")
        site.run("sh", "-c", END.format(signal, then))
        _, stderr = wrapping.communicate(timeout=30)
    # The first of the two processes was killed; the other one undoes the wrap.
    by = "SIGINT" if signal == "INT" else "SIGTERM"
    assert stderr.count("\n") == 1
    assert f"interrupted by {by}; all changes were undone; connections were refused for " in stderr
    site.wait_serving()
    site.is_plain(text)


def test_an_interrupt_of_the_trial(site: Site) -> None:
    """The running program notices nothing, and no file is left."""
    slow = "import os, time\nif 'SOCKACT_NAME' in os.environ:\n    time.sleep(60)\n"
    site.machine.write("/opt/zoo/slow.py", f"{slow}from tests.servers.apps.wsgi import app\n")
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} slow:app")
    before, files = site.main_pid, site.run("sh", "-c", TREE).stdout
    trial = "sockact-trial-site.service"
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), "sockact", "wrap", site.unit],
        stderr=subprocess.PIPE,
        text=True,
    ) as wrapping:
        wait.until(lambda: site.show("ActiveState", trial) == "activating", "the trial")
        site.run("sh", "-c", END.format("INT", ""))
        _, stderr = wrapping.communicate(timeout=30)
    assert stderr.endswith("interrupted by SIGINT; all changes were undone\n")
    assert site.main_pid == before
    assert site.run("sh", "-c", TREE).stdout == files
    assert site.machine.systemctl("list-units", "--all", "--plain", trial).stdout.find(trial) < 0
    site.is_plain(text)


ONE = """
import fcntl, http.server, sys
lock = open("/tmp/one.lock", "w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit("one is already running")
http.server.test(http.server.SimpleHTTPRequestHandler, port=8000, bind="127.0.0.1")
"""


@pytest.mark.parametrize("private", ["yes", "no"])
def test_a_program_of_which_only_one_may_run(site: Site, private: str) -> None:
    """wrap finds it out before the running one stops; unwrap does not take it for broken."""
    site.machine.write("/opt/zoo/one.py", ONE)
    text = site.install("ExecStart=/usr/bin/python3 /opt/zoo/one.py", f"PrivateTmp={private}")
    before = site.main_pid
    done = site.wrap(check=False)
    reason = done.stderr.splitlines()[0]
    assert reason == (
        "sockact: site.service: only one instance of its program can run: one is already running; "
        "all changes were undone"
    )
    assert site.main_pid == before
    site.is_plain(text)
    site.wrap("--force")
    done = site.unwrap()
    assert "a test reload proves nothing: site.service: only one instance" in done.stdout
    site.wait_serving()
    site.is_plain(text)
    site.machine.run("rm", "-f", "/tmp/one.lock")


def test_a_program_that_starts_but_does_not_reload(site: Site) -> None:
    """The wrap is taken back, although the program has started under sockact."""
    count = "test $$(cat /srv/app/starts | wc -l) -lt 2 -o -z $$SOCKACT_NAME"
    site.machine.write("/srv/app/starts", "", 0o666)
    text = site.install(
        f"ExecStart=/bin/sh -c '{count} && echo >>/srv/app/starts "
        f"&& exec gunicorn --bind {ADDRESS} {WSGI}'"
    )
    site.machine.write("/srv/app/starts", "", 0o666)
    done = site.wrap(check=False)
    assert done.returncode == 1
    assert "site.service: it cannot be reloaded: a new generation did not start; " in done.stderr
    assert "all changes were undone; connections were refused for " in done.stderr
    site.wait_serving()
    site.is_plain(text)


# It removes its socket file at once, and takes its time to end.
LINGERING = """
import os, signal, socketserver, sys, time
path = sys.argv[1]
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nwell")
def stop(*_):
    os.unlink(path)
    time.sleep(2)
    os._exit(0)
if "SOCKACT_NAME" not in os.environ:
    signal.signal(signal.SIGTERM, stop)
    if os.path.exists(path):
        os.unlink(path)
socketserver.UnixStreamServer(path, Answer).serve_forever()
"""


def test_the_outage_of_a_socket_file_is_what_clients_saw(site: Site) -> None:
    """The file is gone for as long as the program takes to end, though its socket is open."""
    path = "/run/site/s"
    site.machine.write("/opt/zoo/lingering.py", LINGERING)
    text = site.install(
        f"ExecStart=/usr/bin/python3 /opt/zoo/lingering.py {path}",
        "RuntimeDirectory=site",
        where=path,
    )
    done = site.wrap()
    stated = float(done.stdout.partition("connections were refused for ")[2].partition(" s;")[0])
    assert 2.0 <= stated < 3.5
    assert "new clients are refused while the running program stops by its own" in done.stdout
    site.unwrap()
    site.wait_serving(path)
    site.is_plain(text)


def test_the_reason_in_a_file_of_the_service(site: Site) -> None:
    """The output of the program is not in the journal."""
    picky = "import os\nif 'SOCKACT_NAME' in os.environ:\n    raise RuntimeError('not in there')\n"
    site.machine.write("/opt/zoo/picky.py", f"{picky}from tests.servers.apps.wsgi import app\n")
    site.install(
        f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} picky:app",
        "StandardError=append:/run/errors",
    )
    for options in ((), ("--force",)):
        done = site.wrap(*options, check=False)
        assert done.returncode == 1
        assert "RuntimeError: not in there" in done.stderr
    site.wait_serving()
    site.machine.path("/run/errors").unlink()


def test_an_interrupt_of_the_way_back(site: Site) -> None:
    """The program has caused the undo, which waits for it to start as before."""
    picky = "import os\nif 'SOCKACT_NAME' in os.environ:\n    raise RuntimeError('not in there')\n"
    site.machine.write("/opt/zoo/picky.py", f"{picky}from tests.servers.apps.wsgi import app\n")
    hold = "/run/hold"
    gone = f"test ! -e {hold}"
    text = site.install(
        f"ExecStartPre=/bin/sh -c 'test -e {DROP_IN} || {gone} || cat {hold} || {gone}'",
        f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} picky:app",
    )
    site.run("mkfifo", "-m", "644", hold)
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), "sockact", "wrap", "--force", site.unit],
        stderr=subprocess.PIPE,
        text=True,
    ) as wrapping:
        # Returns when the program has started as before.
        with site.machine.path(hold).open("w"):
            site.run("sh", "-c", END.format("INT", ""))
            site.machine.path(hold).unlink()
        _, stderr = wrapping.communicate(timeout=30)
    assert wrapping.returncode == 1
    assert (
        "site.service did not start; all changes were undone; connections were refused for "
        in stderr
    )
    site.wait_serving()
    site.is_plain(text)


def test_a_program_that_binds_another_ip_address(site: Site) -> None:
    """sockact matches by the port; so must unwrap."""
    text = site.install(*debian(site.machine))
    site.wrap("--listen", "0.0.0.0:8000")
    assert site.ask() == answers.fast("1").decode()
    done = site.unwrap()
    assert "connections were refused for " in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_permission_denied(site: Site) -> None:
    """The message names the remedy, and nothing is changed."""
    site.install(*debian(site.machine))

    def unwrap() -> str:
        done = site.machine.run("sockact", "unwrap", site.unit, user=USER)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        return done.stderr

    site.wrap("--no-restart")
    now = "Permission denied; use sudo; the service is still wrapped"
    assert f"cannot remove {DROP_IN}: {now}" in unwrap()
    site.systemctl("restart", site.unit)
    before = site.main_pid
    now = "Permission denied; use sudo or --user-unit; the service is still wrapped"
    assert f"cannot write {DROP_IN}: {now}" in unwrap()
    assert site.main_pid == before
    assert site.findings() == []
    site.unwrap()
    site.wait_serving()


def test_a_port_of_the_kernels_choice(site: Site) -> None:
    """It may be intended: the message names the option."""
    site.machine.write("/opt/zoo/odd.py", ODD)
    start, url = "ExecStart=/usr/bin/python3 /opt/zoo/odd.py", "http://127.0.0.1:50051"
    site.install(start, url=url)
    done = site.wrap(check=False)
    assert "site has only listening sockets for internal use" in done.stderr
    assert "to take them over, add --listen 127.0.0.1:50051\n" in done.stderr
    site.systemctl("stop", site.unit)
    site.install("Environment=PORT=50051", start, url=url)
    done = site.wrap("--dry-run")
    assert "\nListenStream=127.0.0.1:50051\n" in done.stdout


def test_a_wrap_that_was_killed(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.wrap("--no-restart")
    site.machine.path(DROP_IN).unlink()
    site.systemctl("daemon-reload")
    meanwhile = f"/run/systemd/system/{site.socket}.d/zz-sockact.conf"
    site.machine.write(meanwhile, "[Socket]\nReusePort=yes\n")
    done = site.wrap(check=False)
    assert "was interrupted; undo it with `sockact unwrap site`" in done.stderr
    site.systemctl("stop", site.unit)
    done = site.wrap(check=False)
    assert "was interrupted" in done.stderr
    site.systemctl("start", site.unit)
    site.wait_serving()
    before = site.main_pid
    done = site.unwrap()
    assert f"removed {SOCKET}" in done.stdout
    assert f"removed {DROP_IN}" not in done.stdout
    assert site.main_pid == before
    assert not site.there(meanwhile)
    site.is_plain(text)


def test_a_wrap_that_was_killed_beside_the_old_program(site: Site) -> None:
    """The .socket unit listens, and gets all that is new, while the program runs by itself."""
    text = site.install(*debian(site.machine))
    before = site.main_pid
    site.run("python3", "-I", "-c", BESIDE, site.unit)
    assert site.active() == {site.unit: "active", site.socket: "active"}
    # Nobody accepts there; the commands name the remedy.
    for command in ("wrap", "check", "status"):
        done = site.run("sockact", command, site.name, check=False)
        assert done.returncode != 0
        assert "was interrupted" in done.stdout + done.stderr
        assert "`sockact unwrap site`" in done.stdout + done.stderr
    site.unwrap()
    assert site.main_pid == before
    assert {site.ask() for _ in range(20)} == {answers.fast("1").decode()}
    site.is_plain(text)


def test_clients_in_the_queue_when_a_wrap_fails(site: Site) -> None:
    """The program was not stopped; the clients in systemd's queue are counted."""
    text = site.install(*debian(site.machine))
    before = site.main_pid
    done = site.run("python3", "-I", "-c", FAILING, site.unit)
    assert done.stdout == "3 0.0 OperatorError\n"
    assert site.main_pid == before
    assert {site.ask() for _ in range(20)} == {answers.fast("1").decode()}
    site.is_plain(text)


def test_a_native_wrap_that_took_no_effect(site: Site) -> None:
    site.machine.write(SOCKET, f"[Socket]\nListenStream={ADDRESS}\n")
    start = f"ExecStart=/usr/bin/gunicorn --workers 2 {WSGI}"
    site.install("[Unit]", f"Requires={site.socket}", "[Service]", start)
    before = site.main_pid
    site.wrap("--no-restart")
    done = site.unwrap()
    assert done.stdout.endswith("site.service: unwrapped\n")
    assert site.main_pid == before
    assert not site.there(DROP_IN)
