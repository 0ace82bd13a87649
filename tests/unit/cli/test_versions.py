"""Kept configurations are files of the service's user: what root reads and writes for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click
import pytest

from sockact.cli.configuration import loader, versions
from sockact.cli.starting import run
from sockact.cli.terminal.failures import Failure

if TYPE_CHECKING:
    from pathlib import Path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")
OTHER = 65534


@as_root
def test_a_link_to_roots_file_is_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's secret\n")
    secret.chmod(0o600)
    kept = tmp_path / "config"
    kept.mkdir()
    (kept / "1.toml").symlink_to(secret)
    os.lchown(kept / "1.toml", OTHER, OTHER)
    os.chown(kept, OTHER, OTHER)
    with pytest.raises(Failure, match="user 65534 can make this path lead to any file"):
        versions.Kept(1, str(kept / "1.toml")).text()


def test_kept_versions_are_not_looked_for_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "1.toml").touch()
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "config").symlink_to(tmp_path / "other")
    monkeypatch.setenv("SOCKACT_STATE_DIR", str(tmp_path))
    with pytest.raises(Failure, match="web/config: Not a directory"):
        versions.all_of("web")


@as_root
def test_a_link_of_another_user_is_not_written_through(tmp_path: Path) -> None:
    secret = tmp_path / "passwd"
    secret.write_text("before\n")
    link = tmp_path / "web.toml"
    link.symlink_to(secret)
    os.lchown(link, OTHER, OTHER)
    with (
        pytest.raises(Failure, match="user 65534"),
        versions.put_back(str(link), "after\n"),
    ):
        pass
    assert secret.read_text() == "before\n"


def test_what_is_no_configuration_is_refused_before_it_is_written() -> None:
    context = run.command.make_context("run", [], resilient_parsing=True)
    with pytest.raises(click.ClickException, match=r"web\.toml:1: "):
        loader.check("/etc/sockact/web.toml", b"root:$y$j9T$HASH:19000::::\n", context)


def test_a_file_is_put_back(tmp_path: Path) -> None:
    path = tmp_path / "web.toml"

    def fail() -> None:
        with versions.put_back(str(path), "after\n"):
            assert path.read_text() == "after\n"
            raise KeyError

    for before in (None, "before\n"):
        with pytest.raises(KeyError):
            fail()
        assert (path.read_text() if path.exists() else None) == before
        path.write_text("before\n")
    with versions.put_back(str(path), "after\n"):
        pass
    assert path.read_text() == "after\n"
    assert os.listdir(tmp_path) == ["web.toml"]
