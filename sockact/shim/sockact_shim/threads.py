"""Interrupts threads that wait in the kernel on a file that was replaced at its fd.

A thread that is blocked in accept() uses the old file until it returns. A signal without SA_RESTART
makes it return, and Python then repeats the call (PEP 475) with the new file.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import os
import sys

from . import NUDGE, monotonic, sleep

# Enough for a thread to enter accept(), and short, because the main thread waits meanwhile.
_PATIENCE = 0.02
_PAUSE = 0.0005

# The numbers of accept and accept4, and those of poll, ppoll, select and pselect6.
_CALLS = {
    "x86_64": ((43, 288), (7, 271, 23, 270)),
    "aarch64": ((202, 242), (73, 72)),
}

_WAITS = "waits"
_RUNS = "runs"
_ELSEWHERE = "elsewhere"


def nudge(fds: list[int]) -> int:
    """Interrupt the Python threads that wait on the fds. Returns the number that did not react."""
    suspects = _other_threads()
    nudged: list[int] = []
    until = monotonic() + _PATIENCE
    while True:
        for ident, tid in list(suspects.items()):
            where = _whereabouts(tid, fds)
            if where is _RUNS:
                continue  # it may be entering accept() with the old file
            del suspects[ident]
            if where is _WAITS and _kill(ident):
                nudged.append(tid)
        # accept() returns a queued connection before it takes a signal: wait until it is taken.
        nudged = [tid for tid in nudged if _is_pending(tid)]
        if not (suspects or nudged) or monotonic() > until:
            return len(nudged)
        sleep(_PAUSE)


def _other_threads() -> dict[int, int]:
    """The other Python threads: identifier → thread id of the kernel.

    `threading.enumerate` would take a lock, which the interrupted code may hold. Green threads of
    gevent and eventlet are in `_active`, too, but are no threads of the interpreter.
    """
    threading = sys.modules.get("threading")
    known = list(getattr(threading, "_active", {}).items())
    # Never keep the frames: this one would refer to itself and keep, until the next garbage
    # collection, everything that the interrupted code refers to, such as an accepted socket.
    living = set(sys._current_frames())
    own = _thread.get_ident()
    found = {ident: getattr(thread, "native_id", None) for ident, thread in known}
    return {i: tid for i, tid in found.items() if tid and i in living and i != own}


def _whereabouts(tid: int, fds: list[int]) -> str:
    try:
        words = read(f"/proc/self/task/{tid}/syscall").split()
    except (FileNotFoundError, ProcessLookupError):
        return _ELSEWHERE
    except OSError:
        return _WAITS
    calls = _CALLS.get(os.uname().machine) if sys.maxsize > 2**32 else None
    if words == [b"running"]:
        return _RUNS
    if calls is None:
        return _WAITS
    number = int(words[0])
    accepts, polls = calls
    # For poll and select the descriptors are not checked: an interrupt in vain does no harm.
    waits = number in polls or (number in accepts and int(words[1], 16) in fds)
    return _WAITS if waits else _ELSEWHERE


def _kill(ident: int) -> bool:
    try:
        _signal.pthread_kill(ident, NUDGE)
    except ProcessLookupError:
        return False
    return True


def _is_pending(tid: int) -> bool:
    try:
        status = read(f"/proc/self/task/{tid}/status")
    except OSError:
        return False
    pending = int(status.partition(b"SigPnd:")[2].split(None, 1)[0], 16)
    return bool(pending >> (NUDGE - 1) & 1)


def read(path: str) -> bytes:
    """The contents of a file in /proc."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(fd, 65536)]
        while parts[-1]:
            parts.append(os.read(fd, 65536))
        return b"".join(parts)
    finally:
        os.close(fd)
