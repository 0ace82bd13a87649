"""EnvironmentFile= that is no regular file, beside a real systemd, which reads it as PID 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.site import debian
from tests.system.units import USER

if TYPE_CHECKING:
    from tests.system.site import Site

FOLDER = "/srv/app/environment"
FILE = f"{FOLDER}/site.env"


@pytest.mark.parametrize("written", [FILE, f"{FOLDER}/*.env"], ids=["file", "pattern"])
def test_a_fifo_is_refused_before_systemd_opens_it(site: Site, written: str) -> None:
    """systemd would wait for a writer, and with it every service of the machine."""
    site.run("install", "-d", "-o", USER, FOLDER)
    site.machine.write(FILE, "NAME=value\n")
    null = "EnvironmentFile=-/dev/null"
    text = site.install(*debian(site.machine), f"EnvironmentFile=-{written}", null)
    before = site.main_pid
    _replace(site, "mkfifo")
    _refused(site, "wrapped")
    assert site.main_pid == before
    _replace(site, "touch")
    site.wrap()
    before = site.main_pid
    _replace(site, "mkfifo")
    _refused(site, "unwrapped")
    assert site.main_pid == before
    _replace(site, "touch")
    site.unwrap()
    site.is_plain(text)


def _replace(site: Site, command: str) -> None:
    """By the service's user."""
    site.machine.run("rm", "-f", FILE, user=USER, check=True)
    site.machine.run(command, FILE, user=USER, check=True)


def _refused(site: Site, action: str) -> None:
    done = (site.wrap if action == "wrapped" else site.unwrap)(check=False)
    assert done.returncode == 1
    assert f"cannot be {action}: EnvironmentFile={FILE} is not a regular file, " in done.stderr
    assert done.stderr.count("\n") == 1
    assert site.systemctl("is-active", site.unit).stdout == "active\n"
