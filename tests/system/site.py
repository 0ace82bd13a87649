"""A service as an administrator would write it, to be wrapped and unwrapped."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.commands import WSGI
from tests.support import wait
from tests.system.service import URL, Service
from tests.system.units import ADDRESS, USER

if TYPE_CHECKING:
    import subprocess

    from tests.support.machine import Machine

UNITS = "/etc/systemd/system"
DROP_IN = f"{UNITS}/site.service.d/zz-sockact.conf"
SOCKET = f"{UNITS}/site.socket"
SETTINGS = f"User={USER}\nWorkingDirectory=/srv/app/current\nEnvironment=PYTHONPATH=/opt/zoo:.\n"


@dataclass(frozen=True)
class Site(Service):
    """site.service, written by hand."""

    def install(self, *lines: str, where: str = "", url: str = URL) -> str:
        """Write and start it; returns its text."""
        text = "[Service]\n" + "\n".join([*lines, SETTINGS])
        self.machine.write(f"{UNITS}/{self.unit}", text)
        self.systemctl("daemon-reload")
        self.systemctl("start", self.unit)
        self.wait_serving(where, url)
        return text

    def wait_serving(self, where: str = "", url: str = URL) -> None:
        """Wait until it responds."""
        command = ("curl", "-s", *(["--unix-socket", where] if where else []), url)
        wait.until(lambda: not self.machine.run(*command).returncode, "its first answer")

    def ask_file(self, path: str) -> str:
        """The response body over a socket file."""
        return self.run("curl", "-sSf", "-m", "20", "--unix-socket", path, f"{URL}/fast").stdout

    def wrap(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("sockact", "wrap", *options, self.unit, check=check)

    def unwrap(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("sockact", "unwrap", *options, self.unit, check=check)

    def there(self, path: str) -> bool:
        return self.machine.path(path).exists()

    def findings(self) -> list[str]:
        """The findings of `sockact check`."""
        found = self.run("sockact", "check", "--json", self.unit, check=False).stdout
        return [f"{one['setting']} {one['message']}" for one in json.loads(found)["findings"]]

    def is_plain(self, text: str) -> None:
        """Check that no file of sockact is left, and that it serves."""
        assert self.machine.path(f"{UNITS}/{self.unit}").read_text() == text
        assert not self.there(DROP_IN)
        assert not self.there(SOCKET)
        assert not self.there("/run/sockact/site")
        assert self.active() == {self.unit: "active", self.socket: "inactive"}
        assert self.show("LoadState", self.socket) == "not-found"


def venv(machine: Machine) -> None:
    """/srv/venv with the gunicorn of the tests."""
    machine.run("python3", "-m", "venv", "--without-pip", "/srv/venv", check=True)
    (packages,) = machine.path("/srv/venv/lib").glob("python3*/site-packages")
    for name in ("gunicorn", "packaging"):
        source = importlib.metadata.distribution(name).locate_file(name)
        shutil.copytree(str(source), packages / name)
    text = "#!/srv/venv/bin/python3\nfrom gunicorn.app.wsgiapp import run\nrun()\n"
    machine.write("/srv/venv/bin/gunicorn", text, 0o755)


def debian(machine: Machine) -> tuple[str, ...]:
    """Debian's gunicorn, as its users set it up."""
    return (
        f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} --workers 2 {WSGI}",
        "ExecReload=/bin/kill -s HUP $MAINPID",
        "KillMode=mixed",
    )


def own_venv(machine: Machine) -> tuple[str, ...]:
    """gunicorn in a virtual environment, as in gunicorn's documentation."""
    venv(machine)
    return (
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart=/srv/venv/bin/gunicorn --bind {ADDRESS} --threads 4 {WSGI}",
        "ExecReload=/bin/kill -s HUP $MAINPID",
        "KillMode=mixed",
        "TimeoutStopSec=5",
        "PrivateTmp=true",
        "RuntimeDirectory=site",
        "SystemCallFilter=@system-service",
        "RestrictAddressFamilies=AF_INET AF_UNIX",
    )
