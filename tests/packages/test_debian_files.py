"""What can be seen of the Debian package without building it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import sockact
from sockact.core.history import snapshots
from sockact.supervisor.control import paths
from sockact.supervisor.records import history, state_dir
from sockact.units.render import templates
from tests import ROOT
from tests.support import deb

DEBIAN = ROOT / "debian"
SCRIPTS = (
    *sorted(DEBIAN.glob("*.p*[tm]")),
    *(path for path in sorted((DEBIAN / "tests").iterdir()) if path.name != "control"),
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_good_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)


def test_all_scripts_were_looked_at() -> None:
    names = {path.name for path in SCRIPTS}
    assert names == {
        *("sockact.postinst", "sockact.prerm", "sockact.postrm"),
        *("reload", "service", "virtualenv"),
    }


def test_version() -> None:
    changelog = (DEBIAN / "changelog").read_text()
    assert changelog.startswith(f"sockact ({sockact.__version__}-")


def test_dependencies_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split("[<>=]", text)[0] for text in project["dependencies"]}
    extras = project.get("optional-dependencies", {}).values()
    wanted |= {re.split("[<>=]", text)[0] for texts in extras for text in texts}
    packages = {"python3", *(f"python3-{name.removesuffix('-python')}" for name in wanted)}
    assert set(deb.depends("Depends")) == packages


def test_the_private_folder_is_the_same_everywhere() -> None:
    rules = (DEBIAN / "rules").read_text()
    (folder,) = re.findall(r"^export PYBUILD_INSTALL_DIR = (.*)$", rules, re.MULTILINE)
    assert f'sys.path.insert(0, "{folder}")' in (ROOT / "packaging/sockact").read_text()


def test_a_purge_knows_what_the_supervisor_writes() -> None:
    postrm = (DEBIAN / "sockact.postrm").read_text()
    assert f'"$folder/{history.FILE}"' in postrm
    assert f'find "$folder/{snapshots.DIRECTORY}"' in postrm
    assert f'rm -f "$folder/{paths.LOCK}" "$folder/{paths.CONTROL}"' in postrm
    assert f'"{paths.SYSTEM_BASE}/$1/{paths.LOCK}"' in postrm
    root = state_dir.state_dir("x", {}, 0)
    assert f"{Path(root).parent}/*" in postrm


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ExecStart=/usr/bin/sockact run --name a -- b", True),
        ("ExecReload=/usr/bin/sockact reload a", True),
        ("  ExecStart = -/usr/bin/sockact run", True),
        ("ExecStart=sockact run", True),
        ("ExecStart=/opt/sockact/bin/sockact run", False),
        ("# ExecStart=/usr/bin/sockact run", False),
        ("ExecStart=/usr/bin/sockact-like run", False),
    ],
)
def test_a_removal_finds_the_units(folder: Path, line: str, found: bool) -> None:
    prerm = (DEBIAN / "sockact.prerm").read_text()
    (pattern,) = re.findall(r"^ +'(\^.*)' \\$", prerm, re.MULTILINE)
    (folder / "unit").write_text(f"[Service]\n{line}\n")
    done = subprocess.run(["grep", "-qE", pattern, folder / "unit"], check=False)
    assert (done.returncode == 0) is found


def test_units_start_the_command_of_the_package() -> None:
    starts = ("ExecStart=", "ExecReload=")
    for name, text in templates.files("/usr/bin/sockact").items():
        lines = [line for line in text.splitlines() if line.startswith(starts)]
        assert all(line.partition("=")[2].startswith("/usr/bin/sockact ") for line in lines)
        assert bool(lines) is name.endswith(".service")


def test_the_setting_for_lanes_is_only_an_example() -> None:
    """It concerns every program of the machine."""
    where = "packaging/sysctl/60-sockact-lanes.conf"
    lines = (ROOT / where).read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    assert settings == ["net.ipv4.tcp_migrate_req = 1"]
    assert where in (DEBIAN / "sockact.examples").read_text().split()
    (doc,) = re.findall(r"^%doc (.*)$", (ROOT / "packaging/sockact.spec").read_text(), re.MULTILINE)
    assert "packaging/sysctl" in doc.split()
    assert "sysctl" not in (DEBIAN / "sockact.install").read_text()
