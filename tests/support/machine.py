"""A real systemd as PID 1, in its own namespaces, over a temporary overlay of a root.

It has its own processes, mounts, network (only a loopback), host name, and a cgroup v2 subtree. It
boots in a second or two, several run side by side, and each ends with SIGKILL to its first process:
the kernel ends everything inside, and takes the mounts along. It ends with the tests, too, however
those end.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BOOT_TIMEOUT = 60.0
COMMAND_TIMEOUT = 30.0
PREFIX = "sockact-machine-"

# $1: the lower layers of the overlay, $2: an empty folder to mount on.
BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
# Each daemon-reload runs them all, and they have nothing to find here.
mkdir -p run/systemd/system-generators
for generator in usr/lib/systemd/system-generators/*; do
    case $generator in
    *-sysv-generator) ;;
    *) ln -s /dev/null "run/systemd/system-generators/${generator##*/}" ;;
    esac
done
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for name in null zero full random urandom tty; do
    : > dev/$name
    mount --bind /dev/$name dev/$name
done
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t cgroup2 cgroup2 sys/fs/cgroup
ip link set lo up
hostname machine
mkdir old
pivot_root . old
cd /
umount -l /old
exec env -i container=sockact-test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
"""

# What may be forbidden or missing.
TRY = r"""
set -e
mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir lower upper work root
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
mkdir root/proc root/cgroup
mount -t proc proc root/proc
mount -t cgroup2 cgroup2 root/cgroup
"""
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup")


class Machine:
    """A booted systemd. Use it as a context manager, or `close` it."""

    def __init__(self, root: Path, layers: tuple[Path, ...] = ()) -> None:
        """Boot it over the root, with `layers` of files laid above, the first on top.

        To be called in the main thread: the machine ends with the thread. Raises AssertionError
        with what was said when it does not boot.
        """
        mount = cgroup_mount()
        assert mount, missing()
        _sweep(mount)
        with contextlib.ExitStack() as undo:
            # The process id lets `_sweep` see whose it is.
            prefix = f"{PREFIX}{os.getpid()}-"
            self._folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
            # The log is beside the folder that the machine mounts on, and not hidden by it.
            (self._folder / "mounts").mkdir()
            self._cgroup = mount / self._folder.name
            self._cgroup.mkdir()
            undo.callback(_remove_cgroup, self._cgroup)
            self._process = self._start(":".join(map(str, (*layers, root))))
            undo.callback(self._kill)
            self.pid = self._first_process()
            wait.until(self._is_up, "systemd to boot", BOOT_TIMEOUT, 0.1)
            self._close = undo.pop_all()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything inside, and remove its cgroups and its folder."""
        self._close.close()

    def enter(self, *namespaces: str) -> tuple[str, ...]:
        """The words before a command that is to run in some of its namespaces (`--net`), or in all
        of them (`--all --root --wd`).
        """
        return ("nsenter", "--target", str(self.pid), *namespaces, "--")

    def path(self, path: str) -> Path:
        """A file of the machine, for this process to read and write.

        Symbolic links in it must be relative ones: the others would be followed outside.
        """
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def run(
        self,
        *command: str,
        user: str = "",
        timeout: float = COMMAND_TIMEOUT,
        check: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root or as a user. Raises TimeoutExpired, and AssertionError
        with `check` when it fails.
        """
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        switch = ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups") if user else ()
        done = subprocess.run(
            [*self.enter("--all", "--root", "--wd"), *switch, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**variables, **(environment or {})},
            check=False,
        )
        assert not check or done.returncode == 0, done
        return done

    def systemctl(
        self, *arguments: str, timeout: float = COMMAND_TIMEOUT, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """A call of systemctl."""
        return self.run("systemctl", *arguments, timeout=timeout, check=check)

    def journal(self, unit: str, option: str = "--unit") -> str:
        """The journal of a unit so far."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", option, unit, "-o", "cat", "--no-pager").stdout

    def uid(self, user: str) -> int:
        """The uid of a user. Raises AssertionError if there is no such user."""
        return int(self.run("id", "-u", user, check=True).stdout)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Put a file there, in one step."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        following = file.with_name(file.name + ".new")
        following.write_text(text)
        following.chmod(mode)
        following.replace(file)

    def _start(self, lower: str) -> subprocess.Popen[bytes]:
        # Into its own cgroup before the cgroup namespace is made, whose root that becomes.
        enter = f"echo $$ > {shlex.quote(str(self._cgroup / 'cgroup.procs'))}"
        tied = ("setpriv", "--pdeathsig", "KILL", "unshare", *NAMESPACES, "--fork", "--kill-child")
        boot = ("sh", "-c", BOOT, "boot", lower, str(self._folder / "mounts"))
        with (self._folder / "log").open("wb") as log:
            return subprocess.Popen(
                ["sh", "-c", f"{enter} && exec {shlex.join([*tied, *boot])}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _first_process(self) -> int:
        def found() -> int | None:
            self._check_alive()
            children = psutil.Process(self._process.pid).children()
            return children[0].pid if children else None

        return wait.until(found, "the first process of the machine")

    def _is_up(self) -> bool:
        self._check_alive()
        done = self.systemctl("is-system-running", "--wait", timeout=BOOT_TIMEOUT)
        return done.stdout.strip() in ("running", "degraded")

    def _check_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            said = (self._folder / "log").read_text(errors="replace")
            raise AssertionError(f"the machine ended with {status} while it booted:\n{said}")

    def _kill(self) -> None:
        if self._process.poll() is None:
            # The first process, so that unshare(1) can reap it; or both when it is not there yet.
            ours = psutil.Process(self._process.pid)
            for process in ours.children() or [ours]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self._process.wait(30)


def missing() -> str:
    """Why no machine can boot here, apart from what roots.missing() knows; empty when it can."""
    mount = cgroup_mount()
    if not mount:
        return "no cgroup v2 is mounted (mount -t cgroup2 cgroup2 DIR)"
    if not os.access(mount, os.W_OK):
        return f"{mount} cannot be written (a container?)"
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        done = subprocess.run(
            ["unshare", *NAMESPACES, "--fork", "sh", "-c", TRY, "try", folder],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return ""
    return f"no namespaces, or no mounts in them: {done.stderr.strip()} (a container?)"


def cgroup_mount() -> Path | None:
    """Where cgroup v2 is mounted."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, where, kind, *_ = line.split()
            if kind == "cgroup2":
                return Path(where)
    return None


def _sweep(mount: Path) -> None:
    """Remove the cgroups and folders of tests that were killed; their machines have ended."""
    for left in (*mount.glob(f"{PREFIX}*"), *Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*")):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            if left.parent == mount:
                _remove_cgroup(left)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _remove_cgroup(cgroup: Path) -> None:
    """Deepest first, each as soon as the last of its processes is gone."""

    def empty() -> bool:
        return "populated 0" in (cgroup / "cgroup.events").read_text()

    wait.until(empty, f"the processes of {cgroup} to end")
    for folder in _deepest_first(cgroup):
        folder.rmdir()


def _deepest_first(folder: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(folder, topdown=False):
        yield Path(path)
