"""`sockact init` and `sockact check` beside a real systemd: what they write runs and reloads as a
hardened service.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from sockact.units.render import templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.machine import Machine

PORTS = iter(range(8100, 8200))

APP = """\
import os

def app(environ, start):
    for folder in ("/tmp", os.environ["STATE_DIRECTORY"]):
        with open(folder + "/written", "w") as file:
            file.write("x")
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"served"]
"""


@dataclass(frozen=True)
class Site:
    """A folder with an application, and what was made of it."""

    machine: Machine

    def init(self, name: str, *arguments: str) -> None:
        """Write the units, and start the socket."""
        options = ("--directory", "/srv/site", "--force", "--enable")
        done = self.machine.run("sockact", "init", name, *options, *arguments)
        assert (done.returncode, done.stderr) == (0, "")

    def check(self, unit: str) -> tuple[int, list[str]]:
        """The exit status, and the findings."""
        done = self.machine.run("sockact", "check", "--json", unit)
        findings = json.loads(done.stdout)["findings"]
        return done.returncode, [f"{f['level']} {f['unit']} {f['message']}" for f in findings]

    def get(self, *where: str) -> str:
        done = self.machine.run("curl", "-sS", "--max-time", "20", *where)
        return done.stdout or done.stderr

    def show(self, unit: str, name: str) -> str:
        done = self.machine.systemctl("show", "--value", "-p", name, unit, check=True)
        return done.stdout.strip()

    def reload(self, unit: str) -> None:
        """It succeeds, and the service's main process stays."""
        before = self.show(unit, "MainPID")
        done = self.machine.systemctl("reload", unit)
        assert done.returncode == 0, self.machine.journal(unit)
        assert self.show(unit, "MainPID") == before

    def stop(self, *units: str) -> None:
        self.machine.systemctl("stop", *units)


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    machine.write("/srv/site/site_app.py", APP)
    yield Site(machine)
    for name in ("web", "sockact@web"):
        machine.systemctl("stop", f"{name}.socket", f"{name}.service")
    machine.run("sh", "-c", "rm -rf /etc/systemd/system/*web* /etc/systemd/system/sockact@*")
    machine.systemctl("daemon-reload", check=True)
    machine.systemctl("reset-failed")


@pytest.mark.parametrize("user", [("--user", "daemon"), ()], ids=["user", "dynamic"])
def test_a_service_of_init_reloads(site: Site, user: tuple[str, ...]) -> None:
    address = f"127.0.0.1:{next(PORTS)}"
    program = ("gunicorn", "-k", "gthread", "-w", "2", "--bind", address, "site_app:app")
    site.init("web", "--listen", address, *user, "--", *program)
    assert site.get(f"http://{address}/") == "served"
    site.machine.systemctl("start", "web.service", check=True)
    site.reload("web.service")
    assert site.get(f"http://{address}/") == "served"
    assert site.check("web") == (0, [])
    said = site.machine.run("systemd-analyze", "verify", "web.service", "web.socket")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    exposure = site.machine.run("systemd-analyze", "security", "--threshold=25", "web.service")
    assert exposure.returncode == 0, exposure.stdout
    assert site.show("web.service", "User") == (user[1] if user else "web")


def test_lanes_that_systemd_opens(site: Site) -> None:
    """A supervisor that is not root can open none, least of all on a privileged port."""
    address = "127.0.0.1:81"
    program = ("gunicorn", "--bind", address, "site_app:app")
    site.init("web", "--listen", address, "--listen-lanes", "3", "--", *program)
    assert site.show("web.socket", "Listen").split("\n") == [f"{address} (Stream)"] * 3
    assert site.get(f"http://{address}/") == "served"
    site.machine.systemctl("start", "web.service", check=True)
    for _ in range(2):
        site.reload("web.service")
        assert site.get(f"http://{address}/") == "served"
    site.machine.systemctl("restart", "web.service", check=True)
    assert site.get(f"http://{address}/") == "served"
    status = json.loads(site.machine.run("sockact", "status", "--json", "web").stdout)
    assert [g["gate_by"] for g in status["generations"]] == ["lane"]
    code, findings = site.check("web")
    assert (code, [one for one in findings if not one.startswith("advice ")]) == (0, [])
    site.stop("web.socket", "web.service")
    site.init("web", "--listen", address, "--lanes", "require", "--listen-lanes=0", "--", *program)
    assert site.machine.systemctl("start", "web.service").returncode != 0
    assert f"write ListenStream={address} 3 times" in site.machine.journal("web.service")
    code, (finding, *_) = site.check("web")
    assert (code, "one line is none" in finding) == (1, True)


def test_an_address_in_use(site: Site) -> None:
    """systemctl's message does not name the cause."""
    address = f"127.0.0.1:{next(PORTS)}"
    site.machine.write("/etc/systemd/system/web2.socket", f"[Socket]\nListenStream={address}\n")
    site.machine.write("/etc/systemd/system/web2.service", "[Service]\nExecStart=true\n")
    site.machine.systemctl("start", "web2.socket", check=True)
    words = ("init", "web", "--listen", address, "--enable", "--", "gunicorn", "site_app:app")
    done = site.machine.run("sockact", *words)
    assert done.returncode == 1
    assert done.stderr == (
        f"sockact: wrote the units of web, but web.socket cannot listen on {address}: address "
        "already in use (see `ss -lntuxp`); stop that program, then run `systemctl start "
        "web.socket`, or choose another --listen and add --force\n"
    )
    status, findings = site.check("web")
    assert status == 1
    assert findings == ["error web.socket it has failed, so clients are refused"]
    site.stop("web2.socket")
    done = site.machine.run("sockact", "check", "we*")
    assert (done.returncode, "is not a unit name" in done.stderr) == (2, True)


@pytest.mark.parametrize("path", ["/run/web.sock", "/tmp/web.sock"])
@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_socket_files_that_servers_change(site: Site, path: str, server: str) -> None:
    program = {
        "gunicorn": ("gunicorn", "--bind", f"unix:{path}", "site_app:app"),
        "uvicorn": (
            "python3",
            "-m",
            "uvicorn",
            "--uds",
            path,
            "--interface",
            "wsgi",
            "site_app:app",
        ),
    }[server]
    site.init("web", "--listen", path, "--user", "daemon", "--", *program)
    assert site.get("--unix-socket", path, "http://localhost/") == "served"
    site.machine.systemctl("start", "web.service", check=True)
    site.reload("web.service")
    # Its socket file survived the restart of the service.
    site.machine.systemctl("restart", "web.service", check=True)
    assert site.get("--unix-socket", path, "http://localhost/") == "served"
    assert site.check("web") == (0, [])


def test_words_of_the_program_survive_systemd(site: Site) -> None:
    nasty = ["", " ", "100%", "%i", "$HOME", "${HOME}", "$$", "a\\n", "a\\", "q\"'", ";", "#"]
    nasty += ["a\nb", "\t", "\x01\x7f", "ä€😀", "\u2028", "*?", "~", "!", "|", "--", "{}"]
    code = "import json, sys; json.dump(sys.argv[1:], open('/run/sockact/web/words', 'w'))"
    address = f"127.0.0.1:{next(PORTS)}"
    site.init("web", "--listen", address, "--", "python3", "-c", code, *nasty)
    # It binds nothing and exits: the service fails; its directory stays while it restarts.
    site.machine.run("mkdir", "-p", "/etc/systemd/system/web.service.d")
    site.machine.write(
        "/etc/systemd/system/web.service.d/keep.conf",
        "[Service]\nRestart=no\nRuntimeDirectoryPreserve=yes\n",
    )
    site.machine.systemctl("daemon-reload", check=True)
    site.machine.systemctl("start", "web.service")
    words = site.machine.run("cat", "/run/sockact/web/words").stdout
    site.machine.run("rm", "-r", "/run/sockact/web")
    assert json.loads(words) == nasty


def test_instances(site: Site) -> None:
    address = f"127.0.0.1:{next(PORTS)}"
    folder = "/etc/systemd/system"
    for suffix in ("service", "socket"):
        name = f"sockact@.{suffix}"
        site.machine.write(f"{folder}/{name}", templates.files()[name])
    site.machine.write(
        f"{folder}/sockact@web.socket.d/listen.conf", f"[Socket]\nListenStream={address}\n"
    )
    command = f"/usr/bin/gunicorn --bind {address} site_app:app"
    options = "--directory /srv/site --drain-timeout 30s"
    site.machine.write(
        "/etc/sockact/web.env", f'SOCKACT_COMMAND="{command}"\nSOCKACT_OPTIONS="{options}"\n'
    )
    site.machine.systemctl("daemon-reload", check=True)
    site.machine.systemctl("start", "sockact@web.service", check=True)
    assert site.get(f"http://{address}/") == "served"
    site.reload("sockact@web.service")
    assert site.check("sockact@web") == (0, [])
    units = ("sockact@web.service", "sockact@web.socket")
    said = site.machine.run("systemd-analyze", "verify", *units)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_a_socket_that_changed(site: Site) -> None:
    address = f"127.0.0.1:{next(PORTS)}"
    site.init("web", "--listen", address, "--", "gunicorn", "--bind", address, "site_app:app")
    site.machine.systemctl("start", "web.service", check=True)
    other = f"127.0.0.1:{next(PORTS)}"
    text = f"[Socket]\nListenStream={address}\nListenStream={other}\n"
    site.machine.write("/etc/systemd/system/web.socket", text)
    status, (finding,) = site.check("web.socket")
    assert (status, "on disk since systemd loaded it" in finding) == (1, True)
    site.machine.systemctl("daemon-reload", check=True)
    status, (finding,) = site.check("web")
    assert (status, f"nobody listens on {other}" in finding) == (1, True)
    site.stop("web.service")
    site.machine.systemctl("restart", "web.socket", check=True)
    assert site.check("web") == (0, [])


def test_a_service_not_written_by_init(site: Site) -> None:
    folder = "/etc/systemd/system"
    site.machine.write(f"{folder}/web.socket", "[Socket]\nListenStream=8199\nAccept=yes\n")
    site.machine.write(f"{folder}/web@.service", "[Service]\nExecStart=/bin/cat\n")
    start = "[Service]\nExecStart=/usr/bin/gunicorn app:app\n"
    site.machine.write(f"{folder}/web.service", start)
    site.machine.systemctl("daemon-reload", check=True)
    status, findings = site.check("web")
    assert (status, len(findings)) == (1, 1)
    assert "sockact does not run the service" in findings[0]
    lines = (
        "[Service]",
        "ExecStart=/usr/bin/sockact run --name web -- /usr/bin/gunicorn app:app",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "PrivateNetwork=yes",
        "SystemCallFilter=@system-service",
    )
    site.machine.write(f"{folder}/web.service", "\n".join(lines))
    site.machine.systemctl("daemon-reload", check=True)
    status, findings = site.check("web")
    said = "\n".join(findings)
    assert status == 1
    for hint in ("passes no listener", "never fails", "namespace"):
        assert hint in said
    assert "such a system call kills sockact or the program" in said
    done = site.machine.run("sockact", "check", "nonexistent")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
