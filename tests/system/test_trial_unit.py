"""The trial start of `sockact wrap` for a program with a socket file in a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.commands import WSGI
from tests.system.units import USER

if TYPE_CHECKING:
    from tests.system.site import Site

PATH = "/run/site/site.sock"
PROGRAM = """
import os
if "SOCKACT_NAME" in os.environ:
    with open("/run/site/settings") as settings, open("/run/site/current") as current:
        assert settings.read() == current.read() == "1"
    with open("/run/site/seen", "a") as seen:
        try:
            open("/run/site/secret").close()
            print("read", file=seen, flush=True)
        except PermissionError:
            print("denied", os.path.realpath("/run/site/settings"), file=seen, flush=True)
from tests.servers.apps.wsgi import app
"""


def test_the_trial_sees_what_is_beside_its_socket_file(site: Site) -> None:
    """Also what another name leads to, but nothing that its user cannot reach."""
    site.machine.write("/opt/zoo/beside.py", PROGRAM)
    site.machine.write("/root/hidden/secret", "for root")
    start = f"ExecStart=/usr/bin/gunicorn --bind unix:{PATH} {WSGI}"
    site.install(start, "RuntimeDirectory=site", "RuntimeDirectoryPreserve=yes", where=PATH)
    script = (
        "cd /run/site && echo -n 1 > settings && ln -s settings current && "
        "ln -s /root/hidden/secret secret && touch seen"
    )
    site.machine.run("sh", "-c", script, user=USER, check=True)
    unit = f"/etc/systemd/system/{site.unit}"
    text = site.machine.path(unit).read_text()
    site.machine.write(unit, text.replace(WSGI, "beside:app"))
    site.systemctl("daemon-reload")
    done = site.wrap()
    assert "beside the running one" in done.stdout
    first, *others = site.machine.path("/run/site/seen").read_text().splitlines()
    assert first == "denied /run/sockact-trial/.site/0/settings"
    # Outside of the trial, they are where they are.
    assert {*others} == {"denied /run/site/settings"}
    assert not site.there("/run/sockact-trial")
    site.unwrap()
