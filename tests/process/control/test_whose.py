"""Commands of users without rights: they reach their own services, and hear whose others are."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from sockact.cli.calls import service
from sockact.cli.terminal.failures import Failure
from sockact.supervisor.control import claim, paths

if TYPE_CHECKING:
    from pathlib import Path

OTHER = 54321
"""A user id that nobody has."""


@pytest.fixture
def system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory of the system, for a user without variables."""
    for name in ("SOCKACT_RUNTIME_DIR", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "SYSTEM_BASE", str(folder))
    (folder / "app").mkdir(mode=0o700)
    return folder


def be_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give directories away")
def test_a_user_reaches_a_unit_of_its_own(
    system: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.chown(system / "app", OTHER, OTHER)
    be_another_user(monkeypatch)
    assert service.one("app").directory == str(system / "app")
    held = claim.take(str(system / "app"))
    assert [one.name for one in service.found()] == ["app"]
    held.release()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert service.one("app").directory == str(system / "app")
    (tmp_path / "sockact" / "app").mkdir(parents=True)
    assert service.one("app").directory == str(tmp_path / "sockact" / "app"), "nearer"
    monkeypatch.setenv("SOCKACT_RUNTIME_DIR", "/chosen")
    assert service.one("app").directory == "/chosen/app"


def test_whose_a_service_is(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_another_user(monkeypatch)
    with pytest.raises(Failure) as caught:
        service.one("app")
    told = r"app is a system service: \S+/app belongs to user \w+ \(mode 0700\), but this is user "
    assert re.fullmatch(rf"{told}{OTHER}; use sudo", caught.value.message)
