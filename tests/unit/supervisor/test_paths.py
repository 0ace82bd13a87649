"""The runtime directory: which one, and which services run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.control import claim, paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("environ", "uid", "directory"),
    [
        ({"SOCKACT_RUNTIME_DIR": "/a", "RUNTIME_DIRECTORY": "/b/app"}, 0, "/a/app"),
        ({"SOCKACT_RUNTIME_DIR": "/a/"}, 5, "/a/app"),
        ({"RUNTIME_DIRECTORY": "/run/sockact/app"}, 5, "/run/sockact/app"),
        ({"RUNTIME_DIRECTORY": "/run/sockact/app/"}, 5, "/run/sockact/app"),
        ({"RUNTIME_DIRECTORY": "/run/one:/run/app"}, 5, "/run/one/app"),
        ({"RUNTIME_DIRECTORY": "/run/myapp"}, 0, "/run/myapp/app"),
        ({"SOCKACT_RUNTIME_DIR": "", "RUNTIME_DIRECTORY": ""}, 0, "/run/sockact/app"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/sockact/app"),
        ({"XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/run/user/5/sockact/app"),
    ],
)
def test_the_first_rule_that_applies(environ: dict[str, str], uid: int, directory: str) -> None:
    assert paths.runtime_dir("app", environ, uid) == directory


def test_no_rule_applies() -> None:
    with pytest.raises(paths.RuntimeDirError, match="set SOCKACT_RUNTIME_DIR"):
        paths.runtime_dir("app", {}, 5)


@pytest.mark.parametrize("name", ["a", "my-app@1.service", "A:b_c.9", "x" * 64, "_-"])
def test_names(name: str) -> None:
    assert paths.valid_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-", "-a", "a/b", "a b", "ä", "x" * 65, "a\n", "a\0"]
)
def test_invalid_names(name: str) -> None:
    assert not paths.valid_name(name)


def test_a_path_that_no_socket_can_have() -> None:
    assert paths.control_path("/" + "x" * 98).endswith("/control")
    with pytest.raises(paths.RuntimeDirError, match="shorter"):
        paths.control_path("/" + "x" * 99)


def test_the_services_that_run(tmp_path: Path) -> None:
    environ = {"SOCKACT_RUNTIME_DIR": str(tmp_path)}
    assert paths.running(environ) == {}
    for name in ("b", "a", "stopped"):
        claim.create(str(tmp_path / name))
    (tmp_path / "file").write_text("")
    held = [claim.lock(str(tmp_path / name)) for name in ("b", "a")]
    os.close(claim.lock(str(tmp_path / "stopped")))
    try:
        running = paths.running(environ)
        assert list(running.items()) == [("a", f"{tmp_path}/a"), ("b", f"{tmp_path}/b")]
        # Inside a unit, $RUNTIME_DIRECTORY is the service's own directory.
        own = {"RUNTIME_DIRECTORY": f"{tmp_path}/a"}
        assert paths.running(own) == {"a": f"{tmp_path}/a"}
    finally:
        for fd in held:
            os.close(fd)
    assert paths.running(environ) == {}
    assert paths.running({"SOCKACT_RUNTIME_DIR": f"{tmp_path}/absent"}) == {}
