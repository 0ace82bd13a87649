"""From nothing to a service, by the very commands of README.md and docs/getting-started.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.support import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.machine import Machine

URL = "http://127.0.0.1:8000/"
APP = """\
def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"{}"]
"""


def commands(page: str, title: str) -> list[str]:
    """The command lines of the first code block below this heading."""
    _, found, rest = (ROOT / page).read_text().partition(f"\n## {title}\n")
    assert found
    block, end, _ = rest.partition("\n```\n\n")
    assert end
    return markdown.command_lines(f"{block}{end}")


@pytest.fixture
def machine_with_app(machine: Machine) -> Iterator[Machine]:
    machine.write("/srv/myapp/app.py", APP.format("one"))
    yield machine
    machine.systemctl("disable", "--now", "myapp.socket", "myapp.service")
    for suffix in ("socket", "service"):
        machine.path(f"/etc/systemd/system/myapp.{suffix}").unlink(missing_ok=True)
    machine.systemctl("daemon-reload", check=True)


def test_with_the_package(machine_with_app: Machine) -> None:
    heading = "Set up a service in five commands"
    install, init, start, reload, status = commands("README.md", heading)
    # The machine has both, as their packages install them.
    assert install == "apt install ./sockact_*.deb gunicorn"
    run(machine_with_app, init)
    run(machine_with_app, start)
    assert machine_with_app.run("curl", "-sS", URL).stdout == "one"
    machine_with_app.write("/srv/myapp/app.py", APP.format("two"))
    run(machine_with_app, reload)
    assert machine_with_app.run("curl", "-sS", URL).stdout == "two"
    assert run(machine_with_app, status).startswith("myapp: serving")
    check = machine_with_app.run("sockact", "check", "myapp")
    assert check.stdout == "myapp.service: no errors, no warnings\n"


def run(machine: Machine, line: str) -> str:
    """What a command line of the documents prints; it has to succeed."""
    done = machine.run("sh", "-c", line)
    assert done.returncode == 0, (line, done.stderr, machine.journal("myapp"))
    return done.stdout


def test_with_pip_it_is_the_same_but_for_the_folder(machine_with_app: Machine) -> None:
    """The environment has the machine's own packages: there is no index inside."""
    lines = commands("docs/getting-started.md", "With pip")
    assert len(lines) == 5
    make, init, start = lines[1], lines[3], lines[4]
    for line in (f"{make} --system-site-packages --without-pip", *TO_INSTALL, init, start):
        run(machine_with_app, line)
    assert machine_with_app.run("curl", "-sS", URL).stdout == "one"
    machine_with_app.write("/srv/myapp/app.py", APP.format("two"))
    reload = machine_with_app.systemctl("reload", "myapp")
    assert reload.returncode == 0, machine_with_app.journal("myapp")
    assert machine_with_app.run("curl", "-sS", URL).stdout == "two"
    machine_with_app.run("rm", "-r", "/opt/sockact", check=True)


# What pip makes of the two packages' entry points.
TO_INSTALL = tuple(
    f"sed '1s|.*|#!/opt/sockact/bin/python3|' /usr/bin/{name} > /opt/sockact/bin/{name} "
    f"&& chmod +x /opt/sockact/bin/{name}"
    for name in ("sockact", "gunicorn")
)
