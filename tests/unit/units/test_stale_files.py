"""Files that changed since a service was started, and which services sockact runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.units import stale_files
from sockact.units.check import all_services
from sockact.units.manager import Manager

if TYPE_CHECKING:
    from pathlib import Path


def test_only_what_changed_later(folder: Path) -> None:
    for name, at in (("old", 1000), ("same", 1001), ("new", 2000), ("zz-sockact.conf", 2000)):
        (folder / name).touch()
        os.utime(folder / name, (at, at))
    paths = [str(folder / name) for name in ("old", "same", "new", "zz-sockact.conf", "gone")]
    assert stale_files.newer(paths, 1000.0) == [str(folder / "new")]
    lines = [f"-{folder}/n*", f"{folder}/gone"]
    assert stale_files.environment_files(lines) == [str(folder / "new")]


def test_what_set_property_wrote_is_in_force(folder: Path) -> None:
    control = folder / "systemd/system.control/a.service.d"
    control.mkdir(parents=True)
    (control / "50-CPUWeight.conf").touch()
    assert stale_files.newer([str(control / "50-CPUWeight.conf")], 1000.0) == []


def test_the_files_of_a_unit(folder: Path) -> None:
    """In the order of systemd.unit(5): of drop-ins with the same name, one counts."""
    high, low = folder / "high", folder / "low"
    for path in (
        low / "a-b@.service",
        low / "service.d/10-all.conf",
        high / "service.d/30-name.conf",
        low / "a-.service.d/20-prefix.conf",
        low / "a-b@.service.d/30-name.conf",
        low / "a-b@x.service.d/40-own.conf",
        high / "a-.service.d/40-own.conf",
        high / "a-b-.service.d/50-other.conf",
        high / "b-.service.d/50-other.conf",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert stale_files.files("a-b@x.service", [str(high), str(low)]) == [
        str(low / "a-b@.service"),
        str(low / "service.d/10-all.conf"),
        str(low / "a-.service.d/20-prefix.conf"),
        str(low / "a-b@.service.d/30-name.conf"),
        str(high / "a-.service.d/40-own.conf"),
    ]


def test_a_process_of_no_unit() -> None:
    assert stale_files.of_process(0) == ("", False, [])


@pytest.mark.parametrize(
    ("start", "ours"),
    [
        ("{ path=/usr/bin/sockact ; argv[]=/usr/bin/sockact run --name web -- x ; }", True),
        ("{ path=/x/python ; argv[]=/x/python /x/sockact run -- x ; }", True),
        ("{ path=/x/python ; argv[]=/x/python -m sockact run -- x ; }", True),
        ("{ path=/usr/bin/sockact ; argv[]=/usr/bin/sockact exporter ; }", False),
        ("{ path=/bin/echo ; argv[]=/bin/echo the old sockact run ; }", False),
    ],
)
def test_whose_start_is_sockacts(monkeypatch: pytest.MonkeyPatch, start: str, ours: bool) -> None:
    shown = f"Id=a.service\nExecStart={start}\nLoadState=loaded\n"

    def call(_manager: Manager, command: str, *_words: str) -> str:
        return shown if command == "show" else "a.service enabled\na@.service static\n"

    monkeypatch.setattr(Manager, "call", call)
    assert all_services.names(Manager()) == (["a.service"] if ours else [])
