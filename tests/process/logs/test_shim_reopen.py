"""The shim's order `reopen`: moved log files are reopened, however they were opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.process.adoption.test_shim_wire import Program, Run, Supervisor, run, supervisor
from tests.process.logs.openers import LOGGING, OPENERS, Opener

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run", "supervisor"]  # fixtures


def start(run: Run, path: Path, opens: str) -> Program:
    """A program that has opened the path."""
    program = run.obedient()
    program.do(f"PATH = {str(path)!r}")
    program.do(opens)
    return program


def write(program: Program, writes: str, text: str) -> None:
    """One line of this text."""
    assert program.do(f"TEXT = {text!r}; {writes}; result = 1") == 1


def reopen(supervisor: Supervisor, program: Program) -> str:
    """The answer to the order."""
    (answer,) = supervisor.order(program.pid, "reopen")
    return answer


@pytest.mark.parametrize("opener", OPENERS, ids=lambda one: one.name)
def test_a_moved_file_is_reopened(
    run: Run, supervisor: Supervisor, folder: Path, opener: Opener
) -> None:
    path, old, older = (folder / name for name in ("app.log", "app.log.1", "app.log.2"))
    program = start(run, path, opener.opens)
    write(program, opener.writes, "one")
    assert reopen(supervisor, program) == "done reopen 0"
    os.rename(path, old)
    assert reopen(supervisor, program) == "done reopen 1"
    assert reopen(supervisor, program) == "done reopen 0"
    write(program, opener.writes, "two")
    # With `create`, logrotate makes the next file.
    os.rename(path, older)
    path.touch(0o640)
    assert reopen(supervisor, program) == "done reopen 1"
    write(program, opener.writes, "three")
    program.do("sys.stderr.flush()")
    words = "one", "two", "three"
    for file, own in zip((old, older, path), words, strict=True):
        text = file.read_text()
        assert [text.count(word) for word in words] == [word == own for word in words]
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "opens",
    [
        "data = open(PATH, 'ab', 0)",
        "import logging; data = open(PATH, 'ab', 0); logging.basicConfig()",
        f"{LOGGING}data = open(PATH, 'ab', 0); root.addHandler(logging.FileHandler(PATH + 'x'))",
    ],
)
def test_what_is_no_log_is_left_alone(
    run: Run, supervisor: Supervisor, folder: Path, opens: str
) -> None:
    path, renamed = folder / "data.part", folder / "data"
    program = start(run, path, opens)
    os.rename(path, renamed)
    assert reopen(supervisor, program) == "done reopen 0"
    program.do("data.write(b'x')")
    assert (renamed.read_text(), path.exists()) == ("x", False)


@pytest.mark.parametrize(
    "opens",
    [
        "pass",
        f"{LOGGING}h = logging.FileHandler(PATH, delay=True); root.addHandler(h)",
        f"{LOGGING}h = logging.FileHandler(PATH); h.close()",
        f"{LOGGING}h = logging.FileHandler(PATH); h.stream.close()",
        f"{LOGGING}h = logging.FileHandler('/dev/null')",
        f"{LOGGING}import io; h = logging.StreamHandler(io.StringIO())",
        "import threading; sys.stderr = None",
    ],
)
def test_nothing_to_reopen(run: Run, supervisor: Supervisor, folder: Path, opens: str) -> None:
    path = folder / "app.log"
    program = start(run, path, opens)
    path.unlink(missing_ok=True)
    assert reopen(supervisor, program) == "done reopen 0"
    assert not path.exists()


@pytest.mark.parametrize(
    ("opens", "hinder", "error"),
    [
        ("h = logging.FileHandler(PATH)", "os.chmod(FOLDER, 0o555)", "Permission denied"),
        ("h = logging.FileHandler(PATH)", "os.mkdir(PATH)", "is no longer a regular file"),
        ("h = logging.FileHandler(PATH)", "os.mkfifo(PATH)", "is no longer a regular file"),
        (
            "import gzip; h = logging.FileHandler(PATH); h.stream = gzip.open(PATH, 'at')",
            "pass",
            "the output goes through a TextIOWrapper, which cannot be reopened",
        ),
    ],
)
def test_a_file_that_cannot_be_reopened_is_still_written(
    run: Run, supervisor: Supervisor, folder: Path, opens: str, hinder: str, error: str
) -> None:
    logs = folder / "logs"
    logs.mkdir()
    path, old = logs / "app.log", logs / "app.log.1"
    program = run.obedient()
    program.do(f"{LOGGING}PATH, FOLDER = {str(path)!r}, {str(logs)!r}")
    program.do(f"{opens}; root.addHandler(h)")
    os.rename(path, old)
    program.do(hinder)
    answer = reopen(supervisor, program)
    assert answer == f"done reopen 0 ! {path}: {error}"
    assert program.do("root.warning('goes on'); h.stream.close(); result = 1") == 1
    assert old.stat().st_size > 5
    logs.chmod(0o755)


def test_all_descriptors_of_the_file_move(run: Run, supervisor: Supervisor, folder: Path) -> None:
    """As with gunicorn's --capture-output; their other flags stay."""
    path = folder / "app.log"
    program = start(
        run,
        path,
        f"{LOGGING}import fcntl; root.addHandler(logging.FileHandler(PATH)); "
        "os.dup2(root.handlers[0].stream.fileno(), 2); reads = open(PATH)",
    )
    before = program.do("result = sorted(os.listdir('/proc/self/fd'))")
    os.rename(path, folder / "app.log.1")
    assert reopen(supervisor, program) == "done reopen 1"
    assert program.do("result = sorted(os.listdir('/proc/self/fd'))") == before
    handler = "root.handlers[0].stream.fileno()"
    assert program.do(f"result = os.path.samestat(os.fstat(2), os.fstat({handler}))")
    assert program.do("result = os.path.samestat(os.fstat(2), os.stat(PATH))")
    assert program.do(f"result = os.get_inheritable(2), os.get_inheritable({handler})") == (
        True,
        False,
    )
    appends = f"result = fcntl.fcntl({handler}, fcntl.F_GETFL) & os.O_APPEND"
    assert program.do(appends) == os.O_APPEND
    assert program.do("result = os.fstat(reads.fileno()).st_ino == os.fstat(2).st_ino") is False


def test_a_lock_that_is_not_free(run: Run, supervisor: Supervisor, folder: Path) -> None:
    """The main thread's own is no hindrance; that of a thread which may wait for it is, a while."""
    path = folder / "app.log"
    program = start(run, path, f"{LOGGING}h = logging.FileHandler(PATH); h.acquire()")
    os.rename(path, folder / "app.log.1")
    assert reopen(supervisor, program) == "done reopen 1"
    os.rename(path, folder / "app.log.1")
    program.do("import threading; h.release()")
    program.do("t = threading.Thread(target=h.acquire, daemon=True); t.start(); t.join()")
    answer = reopen(supervisor, program)
    assert answer == f"done reopen 0 ! {path}: its handler was busy for 1 s; rotate again"


def test_names_that_are_relative(run: Run, supervisor: Supervisor, folder: Path) -> None:
    program = run.obedient()
    program.do(f"os.chdir({str(folder)!r}); sys.stderr = open('app.log', 'a')")
    path = folder / "app.log"
    assert reopen(supervisor, program) == "done reopen 0"
    os.rename(path, folder / "app.log.1")
    assert reopen(supervisor, program) == "done reopen 1"
    program.do("os.chdir('/')")
    assert reopen(supervisor, program) == "done reopen 0"
    os.rename(path, folder / "app.log.1")
    assert reopen(supervisor, program).startswith(
        "done reopen 0 ! app.log: was opened by this relative name"
    )
    assert not path.exists()


def test_a_library_that_has_changed_is_named(
    run: Run, supervisor: Supervisor, folder: Path
) -> None:
    path = folder / "app.log"
    program = start(
        run,
        path,
        f"{LOGGING}root.addHandler(logging.FileHandler(PATH)); sys.modules['structlog'] = logging",
    )
    os.rename(path, folder / "app.log.1")
    answer = reopen(supervisor, program)
    assert answer.startswith("done reopen 1 ! structlog: AttributeError: ")


def test_buffered_lines_are_not_torn(run: Run, supervisor: Supervisor, folder: Path) -> None:
    path, old = folder / "app.log", folder / "app.log.1"
    program = start(run, path, "sys.stderr = open(PATH, 'a', 8192)")
    program.do("result = [print('x' * 999, file=sys.stderr) for _ in range(20)] and 1")
    os.rename(path, old)
    assert reopen(supervisor, program) == "done reopen 1"
    program.do("result = [print('y' * 999, file=sys.stderr) for _ in range(20)] and 1")
    program.do("sys.stderr.flush()")
    assert old.read_text() == ("x" * 999 + "\n") * 20
    assert path.read_text() == ("y" * 999 + "\n") * 20


# As another thread may while the shim is in the kernel: the log's flush closes the other file.
CLOSES_MEANWHILE = """
import io, os, socket
class Log(io.TextIOWrapper):
    def flush(self):
        global pair
        if not other.closed and os.path.exists(MOVED):
            number = other.fileno()
            other.close()
            pair = socket.socketpair()
            assert pair[0].fileno() == number
        super().flush()
other = open(PATH, 'a')
sys.stderr = Log(open(PATH, 'ab'))
"""


def test_a_fd_number_that_a_client_has_now(run: Run, supervisor: Supervisor, folder: Path) -> None:
    path, old = folder / "app.log", folder / "app.log.1"
    program = start(run, path, f"MOVED = {str(old)!r}; exec({CLOSES_MEANWHILE!r})")
    os.rename(path, old)
    assert reopen(supervisor, program) == "done reopen 1"
    assert program.do("result = os.readlink(f'/proc/self/fd/{pair[0].fileno()}')").startswith(
        "socket:"
    )


# Another thread forks as soon as the shim begins to load the rest of itself, which takes a while.
# Nobody prints: the call may come in the middle of that, and the child would have a held lock.
FORKS_MEANWHILE = """
import threading, time
begun = threading.Event()
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "sockact_shim.gate":
            begun.set()
            time.sleep(0.05)
sys.meta_path.insert(0, Slow())
def fork():
    begun.wait()
    if not os.fork():
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(60)
threading.Thread(target=fork, daemon=True).start()
os.write(1, b"%d\\n" % os.getpid())
while True: time.sleep(60)
"""


def test_a_child_that_is_forked_while_the_shim_loads(run: Run, supervisor: Supervisor) -> None:
    program = run("-c", "import os, sys\n" + FORKS_MEANWHILE)
    parent = int(program.line())
    for pid in (parent, None):
        # The child may have the parent's connection, too: nobody waits for its end.
        conversation = supervisor.call(pid or int(program.line()))
        try:
            assert conversation.order("reopen") == "done reopen 0"
            conversation.send("end")
        finally:
            conversation.close()
