"""--log and --log-stderr: which output goes where, and which files are refused."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import wait
from tests.support.installed import Installed, upgrade
from tests.support.logs import grows, pump, reopen, rotate, said, talking
from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

# It says what it has to, and serves.
SAYS = """
out = lambda data: os.write(1, data)
err = lambda data: os.write(2, data)
{}
accept(bound())
"""
LONG = 200_000


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


@pytest.fixture
def log(folder: Path) -> Path:
    return folder / "app.log"


def has(path: Path, data: bytes) -> None:
    wait.until(lambda: path.exists() and path.read_bytes() == data, f"{data[:99]!r} in {path}")


def test_one_file_keeps_the_order(start: StartService, program: Program, log: Path) -> None:
    lines = "for n in range(50): (out, err)[n % 2](b'%d\\n' % n)"
    program.publish("1", SAYS.format(lines))
    start(program.command, listen=program.listen, options=("--log", str(log)))
    has(log, b"".join(b"%d\n" % n for n in range(50)))
    assert stat.S_IMODE(log.stat().st_mode) == 0o640 & ~_umask()


def _umask() -> int:
    found = os.umask(0o22)
    os.umask(found)
    return found


def test_two_files(start: StartService, program: Program, log: Path, folder: Path) -> None:
    program.publish("1", SAYS.format("out(b'one\\n'); err(b'two\\n')"))
    errors = folder / "errors.log"
    # A relative one, from where the supervisor was started.
    options = ("--log", "../app.log", "--log-stderr", str(errors))
    service = start(program.command, listen=program.listen, options=options)
    has(log, b"one\n")
    has(errors, b"two\n")
    assert [one["path"] for one in service.status()["logs"]] == [str(log), str(errors)]
    text = service.run("status", "test").stdout
    assert "  log " not in text  # Nothing is wrong with them.


def test_only_standard_error(start: StartService, program: Program, log: Path) -> None:
    program.publish("1", SAYS.format("out(b'one\\n'); err(b'two\\n')"))
    service = start(program.command, listen=program.listen, options=("--log-stderr", str(log)))
    has(log, b"two\n")
    wait.until(lambda: "one\n" in service.stderr, "standard output")


def test_any_bytes_and_any_length(start: StartService, program: Program, log: Path) -> None:
    says = f"out(bytes(range(256)) + b'\\n' + b'x' * {LONG}); out(b'y\\nlast')"
    program.publish("1", SAYS.format(says))
    service = start(program.command, listen=program.listen, options=("--log", str(log)))
    assert service.stop() == 0
    # What had no end has one: the next line that comes into this file is a line of its own.
    assert log.read_bytes() == bytes(range(256)) + b"\n" + b"x" * LONG + b"y\nlast\n"


def test_half_a_line_from_before(start: StartService, program: Program, log: Path) -> None:
    program.publish("1", SAYS.format("out(b'one\\n')"))
    log.write_bytes(b"whole\nhalf")
    service = start(program.command, listen=program.listen, options=("--log", str(log)))
    has(log, b"whole\nhalf\none\n")
    log.unlink()
    assert "reopened" in reopen(service)
    has(log, b"")


def test_a_line_waits_for_its_end(start: StartService, program: Program, log: Path) -> None:
    program.publish("1", SAYS.format("out(b'one\\nhalf of')"))
    service = start(program.command, listen=program.listen, options=("--log", str(log)))
    has(log, b"one\n")
    program.publish("2", SAYS.format("out(b'two\\n')"))
    assert service.reload("--wait-drained").code == 0
    assert service.stop() == 0
    assert sorted(log.read_bytes().splitlines()) == [b"half of", b"one", b"two"]


@pytest.mark.parametrize("option", ["--log", "--log-stderr"])
def test_the_last_lines_of_a_failed_reload(
    start: StartService, program: Program, log: Path, option: str
) -> None:
    service = start(program.command, listen=program.listen, options=(option, str(log)))
    says = "[err(b'trouble %d\\n' % n) for n in range(60)]; os._exit(3)"
    program.publish("2", SAYS.format(says))
    outcome = service.reload()
    assert outcome.code == 1
    assert [line for line in outcome.stderr.splitlines() if "trouble" in line][-1].endswith("59")
    headline, *quoted = outcome.stderr.splitlines()
    assert "trouble 59" in headline
    assert quoted == [f"  | trouble {number}" for number in range(20, 60)]
    assert service.status()["handover"]["stderr"][0] == "trouble 0"
    wait.until(lambda: log.read_bytes().count(b"trouble") == 60, "all of them in the log")
    assert program.ask() == "1"


def test_the_pump_holds_nothing_of_the_supervisors(
    start: StartService, program: Program, log: Path
) -> None:
    program.publish("1", SAYS.format("out(b'one\\n')"))
    service = start(program.command, listen=program.listen, options=("--log", str(log)))
    has(log, b"one\n")
    process = pump(service)
    descriptors = f"/proc/{process.pid}/fd"
    found = {fd: os.readlink(f"{descriptors}/{fd}") for fd in os.listdir(descriptors)}
    kinds = sorted(one.partition(":")[0] for fd, one in found.items() if int(fd) > 2)
    assert kinds == sorted([str(log), "pipe", "socket"])
    assert os.getsid(process.pid) == process.pid
    # It exits when there is nothing left to write, not on a signal.
    process.terminate()
    program.publish("2", SAYS.format("out(b'two\\n')"))
    assert service.reload().code == 0
    has(log, b"one\ntwo\n")


def test_another_version_goes_on_with_it(start: StartService, folder: Path, log: Path) -> None:
    installed = Installed(folder / "installed")
    installed.publish("1.0")
    program = Program(folder)
    program.publish("1", talking())
    options = ("--log", str(log))
    service = start(
        program.command, listen=program.listen, options=options, launcher=installed.launcher
    )
    grows(log)
    process = pump(service)
    installed.publish("2.0.0")
    upgrade(service)
    assert pump(service) == process
    left = log.with_suffix(".1")
    rotate(service, log, left)
    assert service.reload().code == 0
    grows(log)
    # A supervisor that took over replaces it, too, with the pipes that it was left.
    process.kill()
    wait.until(lambda: pump(service) != process, "another log pump")
    assert "reopened" in reopen(service)
    grows(log)
    assert service.stop() == 0
    found = said([left])
    assert all(one.numbers == list(range(1, len(one.numbers) + 1)) for one in found.values())


def test_it_sleeps_while_nothing_comes(start: StartService, program: Program, log: Path) -> None:
    program.publish("1", SAYS.format("out(b'one\\n')"))
    service = start(program.command, listen=program.listen, options=("--log", str(log)))
    has(log, b"one\n")
    assert "reopened" in reopen(service)
    process = psutil.Process(pump(service).pid)
    wait.until(lambda: process.status() == psutil.STATUS_SLEEPING, "it to sleep")
    before = process.num_ctx_switches().voluntary
    for _ in range(20):
        assert program.ask() == "1"
    assert process.num_ctx_switches().voluntary == before


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (".", "is a directory"),
        ("missing/", "is a directory"),
        ("", "is not a path"),
        ("/dev/stdout", "is not a log file"),
        ("/tmp/a\nb", "contains unprintable characters"),
        ("/dev/../proc/self/fd/1", "is not a log file"),
        ("missing/app.log", "No such file or directory; create its directory, or"),
        ("pipe", "neither a file nor a character device"),
        ("socket", "cannot write to the log"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_refused(
    start: StartService, program: Program, folder: Path, path: str, why: str
) -> None:
    own = folder / "0"
    program.publish("1", SAYS.format("open('started', 'w')"))
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket"))
    full = path if not path or path in (".", "missing/") or path[0] == "/" else f"../{path}"
    service = start(program.command, listen=program.listen, options=("--log", full), ready=False)
    assert service.process.wait(20.0) == 2
    lines = service.stderr.splitlines()
    assert why in lines[-1], lines
    assert not (own / "started").exists()
    assert [path for path in service.runtime.rglob("*") if path.is_file()] == []


def test_one_file_by_two_names(start: StartService, program: Program, log: Path) -> None:
    program.publish("1", SAYS.format("out(b'one\\n')"))
    log.write_bytes(b"")
    other = log.with_suffix(".link")
    other.symlink_to(log)
    options = ("--log", str(log), "--log-stderr", str(other))
    service = start(program.command, listen=program.listen, options=options, ready=False)
    assert service.process.wait(20.0) == 2
    assert "are the same file; omit --log-stderr" in service.stderr


def test_a_device(start: StartService, program: Program) -> None:
    program.publish("1", SAYS.format("out(b'one\\n')"))
    service = start(program.command, listen=program.listen, options=("--log", "/dev/null"))
    assert "reopened" in reopen(service)
    assert not service.status()["logs"][0]["error"]
