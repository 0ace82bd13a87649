"""The unit of a trial start: the service's own sandbox, and nothing of its life."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sockact.systemd import listeners
from sockact.units import unitfile
from sockact.units.trial import trial_unit
from tests.unit.units.test_drop_in import WRAP, facts

if TYPE_CHECKING:
    from pathlib import Path

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
