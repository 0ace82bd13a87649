"""The sockets of the shims and of --ready notify: for the program's processes only."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sockact
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.processes.budget import STRANGER
from sockact.supervisor.processes.hidden_sockets import HiddenSockets
from sockact.supervisor.processes.shim_door import ShimDoor
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import StartService
    from tests.support.program import Program

SHIM = Path(sockact.__file__).parent / "shim"
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")

TELLS_ITS_VARIABLES = """
found = bound()
with open(TOLD + ".new", "w") as file:
    file.write("\\n".join(f"{k}={v}" for k, v in os.environ.items() if "\\n" not in v))
os.rename(file.name, TOLD)
if "NOTIFY_SOCKET" in os.environ:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
        notify.send(b"READY=1")
accept(found)
"""


def publish_telling(program: Program, told: Path, before: str = "") -> None:
    program.publish("1", f"TOLD = {str(told)!r}\n{before}{TELLS_ITS_VARIABLES}")


def variables(told: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)


def attempt(path: str, kind: socket.SocketKind) -> str:
    """What becomes of an attempt of another user to connect: "" if that succeeds."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        with socket.socket(socket.AF_UNIX, kind) as sock:
            os.write(writer, os.strerror(sock.connect_ex(path)).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text.replace("Success", "")


@as_root
def test_other_users_cannot_find_them(start: StartService, program: Program, folder: Path) -> None:
    """Not in /proc/net/unix, and not in the directory, which they cannot list."""
    told = folder / "told"
    publish_telling(program, told)
    service = start(program.command, listen=program.listen, options=("--ready", "notify"))
    found = variables(told)
    user, _, shim = found["SOCKACT_SUPERVISOR"].partition(":")
    assert user == "0"
    directory = service.runtime / "test" / "sockets"
    assert {Path(shim).parent, Path(found["NOTIFY_SOCKET"]).parent} == {directory}
    assert directory.stat().st_mode & 0o777 == 0o711
    listed = Path("/proc/net/unix").read_text()
    assert Path(shim).name not in listed
    assert Path(found["NOTIFY_SOCKET"]).name not in listed
    # Whoever knows the name may connect: the program, as whatever user.
    assert attempt(shim, socket.SOCK_SEQPACKET) == ""
    assert attempt(str(directory / "new"), socket.SOCK_SEQPACKET) == "No such file or directory"
    service.stop()
    assert not directory.exists()


@as_root
def test_a_program_that_has_changed_its_user_says_that_it_is_ready(
    start: StartService, program: Program, folder: Path
) -> None:
    told = folder / "told"
    folder.chmod(0o777)
    publish_telling(program, told, "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n")
    start(program.command, listen=program.listen, options=("--ready", "notify"))
    assert program.ask() == "1"


@as_root
def test_a_runtime_directory_that_others_cannot_enter(
    start: StartService, program: Program, folder: Path
) -> None:
    """The sockets get abstract names, as any user of the program has to reach them."""
    told = folder / "told"
    publish_telling(program, told)
    (folder / "private").mkdir(mode=0o700)
    launcher = ("env", f"SOCKACT_RUNTIME_DIR={folder}/private")
    start(program.command, listen=program.listen, options=("--ready", "notify"), launcher=launcher)
    found = variables(told)
    assert found["SOCKACT_SUPERVISOR"] == "0:"
    assert found["NOTIFY_SOCKET"] == f"@{found['SOCKACT_SHIM']}/notify-1"


def test_what_a_killed_supervisor_has_left_is_removed(tmp_path: Path) -> None:
    first = HiddenSockets(str(tmp_path), made=False)
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as other:
        # pytest's own directory is for this user only.
        assert bool(first.bind(sock)) is (os.geteuid() != 0)
        (tmp_path / "sockets").mkdir(exist_ok=True)
        other.bind(str(tmp_path / "sockets" / "left"))
        HiddenSockets(str(tmp_path), made=False, resumed=True)
        assert (tmp_path / "sockets" / "left").exists()
        HiddenSockets(str(tmp_path), made=False).close()
    assert not (tmp_path / "sockets").exists()


@pytest.mark.parametrize("variable", ["SOCKACT_SUPERVISOR", "NONE"])
def test_a_program_with_an_older_shim(start: StartService, program: Program, variable: str) -> None:
    """It knows the abstract name only, and is answered there."""
    service = start(["env", "-u", variable, *program.command], listen=program.listen)
    program.publish("2")
    assert service.reload().code == 0, service.stderr
    assert "cannot be made to stop accepting" not in service.stderr
    assert {program.ask() for _ in range(5)} == {"2"}


@pytest.fixture
def squatter() -> Iterator[str]:
    """The name of a supervisor that has ended, and which this process has taken."""
    name = f"sockact/test/{os.getpid()}/{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(b"\0" + name.encode())
        sock.listen()
        yield name


@pytest.mark.parametrize(
    ("location", "outcome"),
    [
        ("{uid}:", ""),
        ("{other}:", "another process has the supervisor's name"),
        ("{uid}:/nowhere", ""),
        ("", ""),
    ],
)
def test_the_shim_talks_to_its_supervisor_only(squatter: str, location: str, outcome: str) -> None:
    text = location.format(uid=os.getuid(), other=os.getuid() + 1)
    assert connect(f"{squatter} {text}".strip()) == outcome


def test_another_process_of_the_same_user_is_not_the_supervisor(squatter: str) -> None:
    other = squatter.replace(f"/{os.getpid()}/", f"/{os.getppid()}/")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(b"\0" + other.encode())
        sock.listen()
        refused = connect(f"{other} {os.getuid()}:")
    assert refused == "another process has the supervisor's name"


def test_the_abstract_name_is_not_asked_after_the_supervisors_end(
    squatter: str, folder: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gone:
        gone.bind(str(folder / "gone"))
    assert "refused" in connect(f"{squatter} {os.getuid()}:{folder}/gone")


def connect(supervisor: str) -> str:
    """The error of a shim that connects to this supervisor."""
    text = (
        f"import sys; sys.path.insert(0, {str(SHIM)!r}); from sockact_shim.wire import Wire\n"
        "try: Wire(sys.argv[1])\n"
        "except OSError as error: print(error, end='')"
    )
    return subprocess.run(
        [sys.executable, "-c", text, supervisor],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_strangers_cannot_keep_the_supervisor_busy() -> None:
    """When their budget is used up, their socket is left alone for a while."""
    loop, asked = Loop(), []
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"\0sockact-test-{os.getpid()}-door")
    listening.listen(64)

    def accepted(connection: socket.socket, pid: int) -> float:
        connection.close()
        asked.append(pid)
        return STRANGER

    door = ShimDoor(loop, listening, accepted)
    for _ in range(3000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.setblocking(False)
            if stranger.connect_ex(listening.getsockname()):
                break
        if loop.watched(door.fileno()):
            door._accept(select.POLLIN)
    # 256 at once, and 64 more each second.
    assert 256 <= len(asked) <= 1000
    assert set(asked) == {os.getpid()}
    assert not loop.watched(door.fileno())
    loop.at(0.0, lambda: None)
    door.close()
    loop.close()


def test_a_stranger_with_a_thousand_ancestors() -> None:
    """Looking it up takes long, so its budget is used up the sooner."""
    loop, spent = Loop(), 0.0
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"\0sockact-test-{os.getpid()}-line")
    listening.listen(64)

    def accepted(connection: socket.socket, _pid: int) -> float:
        nonlocal spent
        connection.close()
        began = time.process_time()
        while time.process_time() < began + 0.02:
            pass
        spent += 0.02
        return STRANGER

    begun = time.monotonic()
    door = ShimDoor(loop, listening, accepted)
    for _ in range(50):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
            stranger.connect(listening.getsockname())
            if loop.watched(door.fileno()):
                door._accept(select.POLLIN)
    # What it has at first, a tenth of the time that has passed, and the last one.
    assert spent <= 0.4 + (time.monotonic() - begun) / 10 + 0.02
    door.close()
    loop.close()


def test_the_flood_of_a_stranger_leaves_room(start: StartService, program: Program) -> None:
    """Another process keeps the queue of the abstract socket full; a reload works all the same."""
    service = start(program.command, listen=program.listen)
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()]
    (name,) = [one for one in names if one.startswith(f"@sockact/test/{service.process.pid}/")]
    flood = (
        "import socket, sys\nprint(flush=True)\nwhile True:\n"
        "    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:\n"
        "        sock.setblocking(False)\n"
        "        sock.connect_ex(sys.argv[1].replace('@', chr(0), 1))\n"
    )
    with subprocess.Popen([sys.executable, "-c", flood, name], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            program.publish("2")
            assert service.reload().code == 0, service.stderr
            assert "cannot be made to stop accepting" not in service.stderr
            wait.until(lambda: program.ask() == "2", "the new version")
        finally:
            process.send_signal(signal.SIGKILL)
