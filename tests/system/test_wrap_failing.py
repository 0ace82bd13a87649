"""`sockact wrap` that fails, and takes everything back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.apps import answers
from tests.servers.commands import WSGI
from tests.system.breaking import BROKEN, LOAD, TREE, WHOLE
from tests.system.site import debian
from tests.system.units import ADDRESS

if TYPE_CHECKING:
    from tests.system.site import Site

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
    assert "site.service did not start; site.service is DOWN: it does not start with" in reason
    assert "then run `systemctl start site`; connections were refused for " in reason
    assert "all changes were undone;" not in reason
    assert "ModuleNotFoundError: No module named 'nothere'" in "".join(quoted)
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    site.systemctl("start", site.unit)
    site.wait_serving()
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
    assert "the test reload was inconclusive: site.service: only one instance" in done.stdout
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
    assert "new clients are refused while the running program stops according to" in done.stdout
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


def test_clients_in_the_queue_when_a_wrap_fails(site: Site) -> None:
    """The program was not stopped; the clients in systemd's queue are counted."""
    text = site.install(*debian(site.machine))
    before = site.main_pid
    done = site.run("python3", "-I", "-c", FAILING, site.unit)
    assert done.stdout == "3 0.0 OperatorError\n"
    assert site.main_pid == before
    assert {site.ask() for _ in range(20)} == {answers.fast("1").decode()}
    site.is_plain(text)
