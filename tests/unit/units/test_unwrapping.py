"""The files of a wrap on the way back: marks, overriding drop-ins, the transition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockact.units import unitfile
from sockact.units.facts import Unit
from sockact.units.wrap import drop_in, marked_files, unwrapping
from tests.unit.units.wrapped import PLAIN, WRAP, facts


def test_marks() -> None:
    text = marked_files.marked("[Unit]\nDescription=ä\n")
    assert marked_files.is_ours(text)
    assert marked_files.is_unchanged(text)
    assert marked_files.is_ours(f"{text}X=1\n")
    assert not marked_files.is_unchanged(f"{text}X=1\n")
    for other in ("", "[Unit]\n", f"\n{text}", text.partition("\n")[2]):
        assert not marked_files.is_ours(other)
        assert not marked_files.is_unchanged(other)
    assert unitfile.parse(text) == {"Unit": {"Description": ["ä"]}}


def test_a_drop_in_that_is_read_after_ours() -> None:
    def overriding(name: str, text: str) -> str:
        found = facts()
        part = {f"/etc/systemd/system/web.service.d/{name}": unitfile.parse(text)}
        return drop_in.overriding(replace(found, service=replace(found.service, parts=part)), WRAP)

    assert not overriding("override.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n")
    assert not overriding("zzz.conf", "[Service]\nEnvironment=A=1\nMemoryMax=1G\n")
    assert overriding("zzz.conf", "[Service]\nMemoryMax=1G\nType=exec\n") == (
        "/etc/systemd/system/web.service.d/zzz.conf, which systemd reads after zz-sockact.conf, "
        "has Type="
    )
    assert overriding("zzz.conf", "[Service]\nExecReload=\n").endswith(" has ExecReload=")


def test_the_files_of_a_unit() -> None:
    text = "# /etc/a\n[Service]\n# /etc/b\nType=exec\n\n# /etc/c\n[Unit]\n"
    assert unitfile.parts(text, ["/etc/a", "/etc/c"]) == {
        "/etc/a": "[Service]\n# /etc/b\nType=exec\n\n",
        "/etc/c": "[Unit]\n\n",
    }


def test_the_way_back_ends_sockact_as_it_has_to_end() -> None:
    found = facts("ExecStop=/x", TimeoutStopUSec="5s")
    own = marked_files.marked(drop_in.render(found, WRAP))
    text = unwrapping.transition(own, "web.socket", "none")
    assert marked_files.is_unchanged(text)
    assert unitfile.parse(text) == {
        "Unit": {"X-Sockact": ["unfinished"], "Conflicts": ["web.socket"], "After": ["web.socket"]},
        "Service": {
            "NotifyAccess": ["main"],
            "UnsetEnvironment": ["NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC"],
            "ExecStop": [],
            "KillMode": ["mixed"],
            "TimeoutStopSec": ["90s"],
        },
    }
    assert "web.socket" not in unwrapping.transition(own, "", "none")
    # A service that speaks to systemd goes on to do so, by its own setting.
    assert "Notify" not in unwrapping.transition(own, "web.socket", "main")


@pytest.mark.parametrize(
    ("lines", "access"),
    [
        ("", "none"),
        ("Type=exec", "none"),
        ("Type=notify", "main"),
        ("Type=notify-reload", "main"),
        ("Type=notify\nNotifyAccess=all", "all"),
        ("WatchdogSec=5", "main"),
        ("WatchdogSec=0", "none"),
        ("FileDescriptorStoreMax=3", "main"),
    ],
)
def test_whose_notifications_a_service_accepts_without_the_drop_in(lines: str, access: str) -> None:
    own = unitfile.parse(f"[Service]\n{lines}\n")
    ours = unitfile.parse("[Service]\nType=notify\nNotifyAccess=main\nWatchdogSec=30s\n")
    parts = {"/etc/web.service": own, "/etc/web.service.d/zz-sockact.conf": ours}
    assert unwrapping.own_access(Unit("web.service", PLAIN, parts=parts)) == access
