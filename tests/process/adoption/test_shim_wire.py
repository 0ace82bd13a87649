"""The shim's call: loading, hello, orders, and what a program must not notice.

`Supervisor` and `Program` here are the other end of the wire for all the tests of the shim.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import sockact
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CALL = 50
AGAIN = 0.1
SHIM = Path(sockact.__file__).parent / "shim"
# The shim supports older Pythons than sockact itself: name one to run these tests with it.
PYTHON = os.environ.get("SOCKACT_TEST_SHIM_PYTHON", sys.executable)

# Services have no capabilities: neither have the programs of these tests.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []

# Executes one statement for each line, and answers each line.
OBEDIENT = """
import os, signal, socket, sys
def attempt(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return type(error).__name__, error.args
for line in iter(sys.stdin.readline, ""):
    result = None
    exec(line)
    print(repr(result), flush=True)
"""

_numbers = itertools.count()


class Conversation:
    """One connection of a shim."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid: int = struct.unpack("3i", credentials)[0]

    def close(self) -> None:
        self._sock.close()

    def receive(self) -> str:
        """The next packet; empty at the end."""
        assert wait.readable(self._sock.fileno()), "the shim said nothing"
        return self._sock.recv(8192).decode()

    def send(self, text: str, fds: Sequence[int] = ()) -> None:
        socket.send_fds(self._sock, [text.encode()], fds)

    def order(self, text: str) -> str:
        self.send(text)
        return self.receive()


class Supervisor:
    """The supervisor's abstract socket."""

    def __init__(self) -> None:
        self.name = f"sockact-test-{os.getpid()}-{next(_numbers)}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.bind("\0" + self.name)
        self._sock.listen(64)

    def close(self) -> None:
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def accept(self, timeout: float = wait.TIMEOUT) -> Conversation:
        assert wait.readable(self._sock.fileno(), timeout=timeout), "no shim connected"
        return Conversation(self._sock.accept()[0])

    def call(self, pid: int) -> Conversation:
        """Start a conversation; returns after the hello."""
        self.signal(pid)
        # A slow process got the signal twice, and connects once more.
        while (conversation := self.accept()).pid != pid:
            conversation.close()
            self.signal(pid)
        assert conversation.receive().startswith(f"hello {pid} 3.")
        return conversation

    def signal(self, pid: int) -> None:
        """Call until there is a connection.

        Python notices a signal that comes just before a blocking system call only after that.
        """

        def connected() -> bool:
            os.kill(pid, CALL)
            return bool(wait.readable(self.fileno(), timeout=AGAIN))

        wait.until(connected, "a shim to connect")

    def order(self, pid: int, *orders: str) -> list[str]:
        """The answers of a process to some orders."""
        conversation = self.call(pid)
        try:
            answers = [conversation.order(order) for order in orders]
            conversation.send("end")
            assert conversation.receive() == ""
            return answers
        finally:
            conversation.close()


class Program:
    """A wrapped Python program, with pipes to it."""

    def __init__(
        self,
        supervisor: Supervisor,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        python: str = PYTHON,
        path: Sequence[str] = (),
    ) -> None:
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SOCKACT"))}
        self.process = subprocess.Popen(
            [*UNPRIVILEGED, python, *arguments],
            env={
                **plain,
                "PYTHONPATH": os.pathsep.join([str(SHIM), *path]),
                "SOCKACT_SHIM": supervisor.name,
                "SOCKACT_GENERATION": "1",
                "SOCKACT_NAME": "test",
                **(environment or {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def close(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        sys.stdout.write(self.process.communicate()[0])  # pytest shows it if the test has failed

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def do(self, statement: str) -> Any:
        """Execute a statement in an OBEDIENT program; returns the `result` that it sets."""
        self.begin(statement)
        return self.finish()

    def begin(self, statement: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()

    def finish(self) -> Any:
        answer = self.line()
        try:
            return eval(answer)
        except SyntaxError as error:
            raise AssertionError(answer + self.process.communicate()[0]) from error


def has_shim(pid: int) -> bool:
    """Whether the supervisor would call it."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(caught >> (CALL - 1) & 1)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    end = Supervisor()
    yield end
    end.close()


class Run:
    """Starts programs and ends them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._programs: list[Program] = []

    def __call__(self, *arguments: str, **options: Any) -> Program:
        program = Program(self._supervisor, arguments, **options)
        self._programs.append(program)
        return program

    def obedient(self, *options: str, **more: Any) -> Program:
        program = self(*options, "-c", OBEDIENT, **more)
        assert program.do("") is None
        return program

    def close(self) -> None:
        for program in self._programs:
            program.close()


@pytest.fixture
def run(supervisor: Supervisor) -> Iterator[Run]:
    starter = Run(supervisor)
    yield starter
    starter.close()


@pytest.mark.parametrize("nudge", [" nudge", ""])
def test_says_hello(run: Run, supervisor: Supervisor, nudge: str) -> None:
    program = run.obedient()
    if not nudge:
        program.do("_ = signal.signal(51, lambda *_: None)")
    version = program.do("result = '%d.%d.%d' % sys.version_info[:3]")
    os.kill(program.pid, CALL)
    conversation = supervisor.accept()
    assert conversation.receive() == f"hello {program.pid} {version}{nudge}"
    conversation.close()
    assert program.do("result = 1") == 1


def test_an_unknown_or_wrong_order_is_an_error(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    unknown, wrong, fine = supervisor.order(
        program.pid, "dance now", "gate closed water", "gate open 1"
    )
    assert unknown == "error unknown order dance"
    assert wrong.startswith("error ValueError: ")
    assert fine == "done gate 0"


def test_a_supervisor_that_is_gone_costs_nothing(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    supervisor.close()
    os.kill(program.pid, CALL)
    assert program.do("result = 1") == 1


def test_a_silent_supervisor_is_left_after_a_while(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    conversation = supervisor.call(program.pid)
    assert conversation.receive() == ""
    conversation.close()
    assert program.do("result = 1") == 1


def test_a_call_during_a_call_is_answered_after_it(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    # A second thread, so that the kernel finds somebody to deliver the second signal to.
    program.do("import threading; threading.Thread(target=signal.pause, daemon=True).start()")
    first = supervisor.call(program.pid)
    os.kill(program.pid, CALL)
    assert first.order("gate open 1") == "done gate 0"
    first.send("end")
    second = supervisor.accept()
    assert second.receive().startswith("hello ")
    for conversation in (first, second):
        conversation.close()
    assert program.do("result = 1") == 1


def test_the_programs_own_signal_waits_and_is_not_lost(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    program.do("got = []; _ = signal.signal(signal.SIGUSR1, lambda *a: got.append(a[0]))")
    conversation = supervisor.call(program.pid)
    os.kill(program.pid, signal.SIGUSR1)
    assert conversation.order("gate open 1") == "done gate 0"
    conversation.close()
    assert program.do("result = got") == [signal.SIGUSR1]


def test_what_the_programs_handler_raises_reaches_it(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    conversation = supervisor.call(program.pid)
    os.kill(program.pid, signal.SIGINT)
    conversation.close()
    assert "KeyboardInterrupt" in program.process.communicate()[0]


def test_a_child_that_is_forked_answers_too(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    # Python drops the signals that come while it forks, so wait until that is over.
    program.do("reader, writer = os.pipe()")
    child = program.do("result = os.fork() or (os.write(writer, b'1'), signal.pause())")
    assert program.do("result = os.read(reader, 1)") == b"1"
    assert supervisor.order(child, "gate open 1") == ["done gate 0"]


def test_leaves_no_trace_in_the_path(run: Run) -> None:
    program = run.obedient()
    assert str(SHIM) not in program.do("result = sys.path")
    assert program.do("result = 'sitecustomize' in sys.modules") is False


def test_chains_to_the_sitecustomize_that_it_shadows(run: Run, folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys\nsys.chained = __file__\n")
    program = run.obedient(path=[str(folder)])
    assert program.do("result = sys.chained") == str(folder / "sitecustomize.py")
    assert program.do("result = sys.modules['sitecustomize'].__file__") == str(
        folder / "sitecustomize.py"
    )
    assert has_shim(program.pid)


def test_a_broken_sitecustomize_breaks_as_it_did(run: Run, folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("raise ValueError('mine')\n")
    bare = {"PYTHONPATH": str(folder)}
    outputs = [
        run("-c", "print('ran')", environment=environment, path=[str(folder)]).process.communicate()
        for environment in (bare, {})
    ]
    assert outputs[0] == outputs[1]
    assert "ValueError: mine\n" in outputs[1][0]


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_a_program_without_the_shim_is_seen(run: Run, option: str) -> None:
    assert not has_shim(run.obedient(option).pid)


def test_without_its_variable_it_does_nothing(run: Run) -> None:
    program = run.obedient(environment={"SOCKACT_SHIM": ""})
    assert not has_shim(program.pid)
    assert str(SHIM) not in program.do("result = sys.path")
