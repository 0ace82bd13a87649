"""Changes on disk reload a hardened service, with --watch and with a .path unit."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.machine import Machine

UNITS = "/etc/systemd/system"
ADDRESS = "127.0.0.1:8300"
APP = """\
import os

WHERE = os.path.realpath(os.getcwd())

def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [" ".join((WHERE, os.environ.get("GREETING", "-"))).encode()]
"""
PROGRAM = ("/usr/bin/gunicorn", "--bind", ADDRESS, "site_app:app")


class Site:
    """/srv/site/current, a link to one of two releases, and /etc/site/conf; web.service."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        for release in ("1", "2"):
            machine.write(f"/srv/site/{release}/site_app.py", APP)
        machine.run("ln", "-sfn", "1", "/srv/site/current", check=True)
        machine.write("/etc/site/conf", "1")

    def init(self, *arguments: str) -> None:
        """Write the units, start all."""
        words = ("sockact", "init", "web", "--force", "--enable", *arguments)
        done = self.machine.run(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        self.machine.systemctl("start", "web.service", check=True)

    def get(self) -> str:
        return self.machine.run("curl", "-sS", "-m", "20", f"http://{ADDRESS}/").stdout

    def handovers(self) -> list[dict[str, Any]]:
        """The handovers that are over."""
        found = self.machine.run("sockact", "history", "--json", "web", check=True).stdout
        return [one for one in json.loads(found)["handovers"] if one["outcome"] != "pending"]

    def reload(self) -> None:
        self.machine.systemctl("reload", "web.service", check=True)

    def once(self, change: Callable[[], object], cause: str) -> None:
        """The change leads to one reload, and to no other until one of ours is through."""
        before = len(self.handovers())
        change()
        wait.until(lambda: len(self.handovers()) > before, "a reload", 30, 0.1)
        self.reload()
        causes = [one["cause"] for one in self.handovers()[before:]]
        assert causes == [cause, "unit"], self.machine.journal("web.service")

    def path(self, path: str) -> Path:
        return self.machine.path(path)


def replace(file: Path) -> None:
    following = file.with_name("following.tmp")
    following.write_text("new")
    os.replace(following, file)


def switch(link: Path, target: str) -> None:
    following = link.with_name("following.tmp")
    following.symlink_to(target)
    os.replace(following, link)


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    yield Site(machine)
    units = ("web.path", "web-reload.service", "web.socket", "web.service")
    for unit in units:
        machine.systemctl("stop", unit)
    machine.run("sh", "-c", f"rm -rf {UNITS}/web* {UNITS}/*.wants/web* /etc/sockact /etc/site")
    machine.systemctl("daemon-reload", check=True)
    machine.systemctl("reset-failed")


WATCH = ("--watch", "/etc/site", "--watch", "/srv/site/current")
LISTEN = ("--listen", ADDRESS)


def test_the_supervisor_watches(site: Site) -> None:
    site.init(*LISTEN, *WATCH, "--directory", "/srv/site/current", "--", *PROGRAM)
    assert site.get() == "/srv/site/1 -"
    site.once(lambda: replace(site.path("/etc/site/conf")), "watch")
    site.once(lambda: switch(site.path("/srv/site/current"), "2"), "watch")
    assert site.get() == "/srv/site/2 -"
    done = site.machine.run("sockact", "check", "web")
    assert done.returncode == 0, done


def test_a_path_unit(site: Site) -> None:
    """For a file that is replaced; a .path unit does not notice a switched link."""
    options = ("--watch", "/etc/site/conf", "--path-unit")
    site.init(*LISTEN, *options, "--directory", "/srv/site/current", "--", *PROGRAM)
    units = ("web.service", "web.socket", "web.path", "web-reload.service")
    said = site.machine.run("systemd-analyze", "verify", *units)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    assert site.machine.systemctl("is-active", "web.path").stdout == "active\n"
    site.once(lambda: replace(site.path("/etc/site/conf")), "unit")
    site.machine.systemctl("stop", "web.service", check=True)
    assert site.machine.systemctl("is-active", "web.path").stdout == "inactive\n"


def configure(site: Site, **more: Any) -> None:
    lines = {
        "command": [*PROGRAM],
        "release": "/srv/site/current",
        "listen": [ADDRESS],
        "watch": ["/etc/site"],
        **more,
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    site.machine.write("/etc/sockact/web.toml", f'{text}[environment]\nGREETING = "{more}"\n')


@pytest.mark.parametrize("user", [("--user", "daemon"), ()], ids=["user", "dynamic"])
def test_a_configuration_file(site: Site, user: tuple[str, ...]) -> None:
    configure(site)
    site.init("--config", "web", *user)
    start = site.machine.run("systemctl", "cat", "web.service").stdout
    assert "ExecStart=/usr/bin/sockact run --config web --identifier web\n" in start
    assert site.get() == "/srv/site/1 {}"
    assert "ignoring --listen" not in site.machine.journal("web.service")
    configure(site, trial=0)
    site.reload()
    assert site.get() == "/srv/site/1 {'trial': 0}"
    configure(site, trial="soon")
    failed = site.machine.systemctl("reload", "web.service")
    assert failed.returncode == 1
    assert "/etc/sockact/web.toml:5: trial: " in site.machine.journal("web.service")
    assert site.get() == "/srv/site/1 {'trial': 0}"
    back = site.machine.run("sockact", "config", "rollback", "web", "1")
    assert back.returncode == 0, back
    assert site.get() == "/srv/site/1 {}"
    assert site.machine.run("sockact", "check", "web").stdout.startswith("web.service: no errors")
    # Another user's secrets.
    site.path("/etc/sockact/web.toml").chmod(0o600)
    warned = site.machine.run("sockact", "init", "web", "--config", "web", *user, "--dry-run")
    assert "the service cannot read /etc/sockact/web.toml" in warned.stderr
