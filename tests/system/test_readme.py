"""From nothing to a service, by the very commands that README.md prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.support import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.machine import Machine

APP = """\
def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"{}"]
"""


def commands(title: str) -> list[str]:
    """Those of the code block below the paragraph that begins so."""
    _, found, rest = (ROOT / "README.md").read_text().partition(f"\n*{title}*")
    assert found
    return markdown.command_lines(rest.partition("\n*")[0])


@pytest.fixture
def machine_with_app(machine: Machine) -> Iterator[Machine]:
    machine.write("/srv/myapp/app.py", APP.format("one"))
    yield machine
    machine.systemctl("disable", "--now", "myapp.socket", "myapp.service")
    for suffix in ("socket", "service"):
        machine.path(f"/etc/systemd/system/myapp.{suffix}").unlink(missing_ok=True)
    machine.systemctl("daemon-reload", check=True)


def test_with_the_package(machine_with_app: Machine) -> None:
    install, *others = commands("With the package")
    assert len(others) == 4
    # The machine has both, as their packages install them.
    assert install == "apt install ./sockact_*.deb gunicorn"
    for line in others:
        before = machine_with_app.path("/srv/myapp/app.py").read_text()
        done = machine_with_app.run("sh", "-c", line)
        assert done.returncode == 0, (line, done.stderr, machine_with_app.journal("myapp"))
        if line.startswith("curl"):
            assert done.stdout == "one"
            machine_with_app.write("/srv/myapp/app.py", before.replace("one", "two"))
    assert machine_with_app.run("curl", "-sS", "http://127.0.0.1:8000/").stdout == "two"
    check = machine_with_app.run("sockact", "check", "myapp")
    assert check.stdout == "myapp.service: no errors, no warnings\n"


def test_with_pip_it_is_the_same_but_for_the_folder(machine_with_app: Machine) -> None:
    """The environment has the machine's own packages: there is no index inside."""
    lines = commands("With pip")
    assert len(lines) == 5
    make, init, start = lines[1], lines[3], lines[4]
    for line in (f"{make} --system-site-packages --without-pip", *TO_INSTALL, init, start):
        done = machine_with_app.run("sh", "-c", line)
        assert done.returncode == 0, (line, done.stderr, machine_with_app.journal("myapp"))
    assert machine_with_app.run("curl", "-sS", "http://127.0.0.1:8000/").stdout == "one"
    machine_with_app.write("/srv/myapp/app.py", APP.format("two"))
    reload = machine_with_app.systemctl("reload", "myapp")
    assert reload.returncode == 0, machine_with_app.journal("myapp")
    assert machine_with_app.run("curl", "-sS", "http://127.0.0.1:8000/").stdout == "two"
    machine_with_app.run("rm", "-r", "/opt/sockact", check=True)


# What pip makes of the two packages' entry points.
TO_INSTALL = tuple(
    f"sed '1s|.*|#!/opt/sockact/bin/python3|' /usr/bin/{name} > /opt/sockact/bin/{name} "
    f"&& chmod +x /opt/sockact/bin/{name}"
    for name in ("sockact", "gunicorn")
)
