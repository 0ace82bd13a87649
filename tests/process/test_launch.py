"""Between fork and exec the child still is a copy of the supervisor, and must not act like it."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor import launch
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

# SIGCANCEL and SIGSETXID, 32 and 33, which the program's own libc blocks as it likes.
GLIBC_OWN = 0b11 << 31

SLEEPER = launch.Launch(("sleep", "60"), "/", dict(os.environ))


@pytest.fixture
def wakeup() -> Iterator[socket.socket]:
    """What the supervisor's loop reads the numbers of its signals from."""
    receive, send = socket.socketpair()
    receive.setblocking(False)
    send.setblocking(False)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(send.fileno())
    yield receive
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, before)
    receive.close()
    send.close()


def test_signal_before_exec_is_the_childs_own(wakeup: socket.socket) -> None:
    """A SIGTERM for the child must end it, and not stop the supervisor."""
    for _ in range(20):
        pid, news = launch.spawn(SLEEPER)
        try:
            os.kill(pid, signal.SIGTERM)
            ended = wait.ended(pid, timeout=5)
        finally:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            news.close()
        assert ended
        assert os.WTERMSIG(status) == signal.SIGTERM
        with pytest.raises(BlockingIOError):
            wakeup.recv(100)


def test_mask_is_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    pid, news = launch.spawn(SLEEPER)
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
        assert wait.readable(news.fileno())
        assert launch.read_news(news) is None
        with open(f"/proc/{pid}/status") as lines:
            masks = dict(line.split(":\t") for line in lines if line.startswith("Sig"))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        news.close()
    assert int(masks["SigBlk"], 16) & ~GLIBC_OWN == 0
    assert int(masks["SigIgn"], 16) == 0
