"""The unit of a trial start: the service's own sandbox, and nothing of its life."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sockact.systemd import listeners
from sockact.units import unitfile
from sockact.units.trial import trial_unit
from tests.unit.units.wrapped import WRAP, facts

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
OF_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of root")
TEXT = """
[Unit]
Requires=database.service
OnFailure=mail.service

[Service]
Type=forking
ExecStartPre=/bin/rm -rf /srv/x
ExecStart=/usr/bin/gunicorn a:a
ExecPaths=/usr
User=web
Environment=A=%n B=%%n
CapabilityBoundingSet=
Restart=always
StandardError=file:/var/log/web
RuntimeDirectory=web other
[Install]
WantedBy=multi-user.target
"""
TCP = (listeners.parse("127.0.0.1:80")[1],)


def render(text: str = TEXT, dynamic: str = "no") -> str:
    found = facts(DynamicUser=dynamic)
    return trial_unit.render(found, WRAP, TCP, ("--ready", "notify"), text)


def test_the_programs_environment_is_kept() -> None:
    text = render()
    lines = text.splitlines()
    for line in (
        "ExecPaths=/usr",
        "User=web",
        "Environment=A=web.service B=%%n",
        "CapabilityBoundingSet=",
        "JoinsNamespaceOf=web.service",
        "Sockets=web.socket",
        "RuntimeDirectory=web other",
        "RuntimeDirectoryPreserve=yes",
        "StandardError=journal",
    ):
        assert line in lines
    assert trial_unit.needs_listener(text)
    service = unitfile.parse(text)["Service"]
    (start,) = service["ExecStart"]
    assert start.startswith("/usr/bin/sockact run --name web --ready notify -- /usr/bin/gunicorn")
    assert service["Type"] == ["notify"]
    gone = ("database", "mail.service", "ExecStartPre", "Restart", "Install", "file:/var/log")
    assert not [word for word in gone if word in text]


def test_a_dynamic_user_is_the_same_one() -> None:
    text = TEXT.replace("User=web\n", "DynamicUser=yes\n")
    assert "User=web" in render(text, dynamic="yes").splitlines()
    other = replace(facts(DynamicUser="yes").service, name="Web.1.service")
    found = replace(facts(DynamicUser="yes"), service=other)
    assert trial_unit.render(found, WRAP, TCP, (), text) == ""


@OF_ROOT
def test_a_socket_file_is_hidden_from_the_trial(folder: Path) -> None:
    path = folder / "web.sock"
    for name in ("web.sock", "other"):
        (folder / name).touch()
    address = (listeners.parse(str(path))[1],)
    text = trial_unit.render(facts(), WRAP, address, (), TEXT)
    lines = text.splitlines()
    assert f"TemporaryFileSystem={folder}:mode=1777" in lines
    assert [line for line in lines if line.startswith("BindPaths=")] == [
        f"BindPaths=-{folder}/other"
    ]
    assert f" --listen {path} -- " in text
    assert not trial_unit.needs_listener(text)
    assert trial_unit.render(facts(), replace(WRAP, user_unit=True), address, (), TEXT) == ""


@OF_ROOT
def test_nothing_is_bound_that_another_user_could_replace(folder: Path) -> None:
    """systemd looks the paths up later, and follows links."""
    directory = folder / "run"
    directory.mkdir()
    for name in ("web.sock", "other", "a b"):
        (directory / name).touch()
    (directory / "link").symlink_to("/etc/shadow")
    address = (listeners.parse(f"{directory}/web.sock")[1],)

    def bound() -> list[str]:
        lines = trial_unit.render(facts(), WRAP, address, (), TEXT).splitlines()
        start = next(line for line in lines if line.startswith("ExecStart="))
        script = [start[: start.index(" sh /usr/bin/sockact run ")]] if "/bin/sh" in start else []
        return [line for line in lines if line.startswith("BindPaths=")] + script

    assert bound() == [f"BindPaths=-{directory}/other"]
    beside = "%t/sockact-trial/.web/0"
    as_the_user = [
        f"BindPaths={directory}:{beside}",
        f"ExecStart=/bin/sh -c 'ln -s -- {beside}/link {beside}/other {directory}; exec \"$$@\"'",
    ]
    os.chown(directory, NOBODY, -1)
    assert bound() == as_the_user
    os.chown(directory, 0, NOBODY)
    directory.chmod(0o775)
    assert bound() == as_the_user
    directory.chmod(0o1777)
    assert bound() == as_the_user
    directory.chmod(0o755)
    os.chown(folder, NOBODY, -1)
    assert trial_unit.render(facts(), WRAP, address, (), TEXT) == ""


def test_a_directory_that_is_too_full_to_show(folder: Path) -> None:
    for number in range(102):
        (folder / str(number)).touch()
    address = (listeners.parse(f"{folder}/web.sock")[1],)
    assert trial_unit.render(facts(), WRAP, address, (), TEXT) == ""
