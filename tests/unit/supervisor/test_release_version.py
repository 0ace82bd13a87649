"""Versions of releases: files, directories and git checkouts of every kind."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from sockact.core.release import LONGEST_VERSION, tidy
from sockact.supervisor.generations import release_version
from sockact.supervisor.generations.release_version import Unknown, behind_link, of_checkout

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "nobody"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "nobody@example.org"),
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": os.environ["PATH"],
}


def git(folder: Path, *words: str) -> str:
    if shutil.which("git") is None:
        pytest.skip("git is not installed, as where a package is built")
    done = subprocess.run(
        ["git", *words], cwd=folder, env=IDENTITY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "src" / "deep").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    return folder


def commit(folder: Path) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", "another")
    return git(folder, "rev-parse", "HEAD")[:12]


def found(source: str, directory: Path | str, program: str = "x", release: str = "") -> str:
    kind, _, rest = source.partition(":")
    return release_version._found(kind, rest, str(directory), program, release)


def test_a_checkout(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")[:12]
    assert of_checkout(str(checkout)) == of_checkout(str(checkout / "src" / "deep")) == first
    second = commit(checkout)
    assert found("git", checkout) == found("git:src", checkout) == second
    git(checkout, "checkout", "-q", first)
    assert of_checkout(str(checkout)) == first


def test_refs_that_are_packed(checkout: Path) -> None:
    git(checkout, "checkout", "-q", "-b", "feature/with-a-slash")
    expected = commit(checkout)
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git/refs/heads/feature").exists()
    assert of_checkout(str(checkout)) == expected
    newer = commit(checkout)
    assert of_checkout(str(checkout)) == newer


def test_a_worktree(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "-q", "-b", "other", "../other")
    expected = commit(tmp_path / "other")
    assert of_checkout(str(tmp_path / "other")) == expected
    assert of_checkout(str(checkout)) != expected
    git(checkout, "pack-refs", "--all")
    assert of_checkout(str(tmp_path / "other")) == expected


def test_a_repository_of_longer_hashes(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256")
    expected = commit(tmp_path)
    assert of_checkout(str(tmp_path)) == expected


def test_before_the_first_commit_and_outside(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(Unknown, match="has no commit"):
        of_checkout(str(tmp_path))
    assert of_checkout("/") == ""
    with pytest.raises(Unknown, match="/ is not in a git checkout"):
        found("git", "/")
    assert found("auto", tmp_path) == ""


@pytest.mark.parametrize(
    "head",
    [
        b"ref: ../../../../etc/passwd\n",
        b"ref: refs/heads/../../../secret\n",
        b"ref: /etc/passwd\n",
        b"ref: refs/heads/a b\n",
        b"deadbeef\n",
        b"",
        b"\xff\0" * 9000,
        b"ref: refs/heads/" + b"x" * 5000,
    ],
)
def test_a_head_that_means_something_else(checkout: Path, head: bytes) -> None:
    (checkout / ".git/secret").write_text("secret\n")
    (checkout / ".git/HEAD").write_bytes(head)
    with pytest.raises((Unknown, OSError)):
        of_checkout(str(checkout))
    assert found("auto", checkout) == ""


def test_a_git_directory_that_is_no_path(tmp_path: Path) -> None:
    (tmp_path / ".git").write_bytes(b"gitdir: a\0b\n")
    with pytest.raises(Unknown, match="is not a path"):
        of_checkout(str(tmp_path))
    assert found("auto", tmp_path) == ""


def test_a_ref_that_is_no_commit(checkout: Path) -> None:
    (checkout / ".git/refs/heads/main").write_text("root:x:0:0\n")
    with pytest.raises(Unknown, match="has no commit"):
        of_checkout(str(checkout))


def test_special_files_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "/dev/zero", "/dev/tty"):
        with pytest.raises((Unknown, OSError)):
            found(f"file:{name}", tmp_path)
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    with pytest.raises(FileNotFoundError):
        of_checkout(str(tmp_path))
    (tmp_path / ".git").write_text("anything\n")
    with pytest.raises(Unknown, match="is not a git directory"):
        of_checkout(str(tmp_path))


def test_the_first_line_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text(" 1.4.2 \nsecond\n")
    assert found("file:VERSION", tmp_path) == found(f"file:{tmp_path}/VERSION", "/") == "1.4.2"
    (tmp_path / "VERSION").write_bytes(b"x" * 10_000_000)
    assert len(found("file:VERSION", tmp_path)) < 5000


def test_the_target_of_a_link(tmp_path: Path) -> None:
    release = tmp_path / "releases" / "2026-03-01"
    (release / "bin").mkdir(parents=True)
    current = tmp_path / "current"
    current.symlink_to("releases/2026-03-01")
    assert behind_link(str(current / "bin")) == str(release)
    assert behind_link(str(release)) == ""
    assert found("path", current) == "2026-03-01"
    assert found("path", "/", release=str(current)) == "2026-03-01"
    for way in (("/", f"{current}/bin/serve"), (str(current / "bin"), "serve")):
        assert found("auto", *way) == "2026-03-01"
    assert found("auto", "/", "serve", str(current)) == "2026-03-01"
    assert found("auto", "/", "/bin/sh") == ""
    assert found("none", current) == ""
    current.unlink()
    current.symlink_to("current")
    assert found("auto", current) == "current"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 1.0\t", "1.0"),
        ("1\0\x1b[2J\n2", "1??[2J?2"),
        ("ü\u202e\ud800", "ü??"),
        ("x" * 1000, "x" * LONGEST_VERSION),
    ],
)
def test_what_can_be_shown(text: str, expected: str) -> None:
    assert tidy(text) == expected
