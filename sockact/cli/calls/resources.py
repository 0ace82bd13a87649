"""Memory and CPU time of processes, as proc(5) tells; None where it tells nothing, or not in time.

A process can keep the kernel from answering about it, in some cases so that not even a signal ends
the wait (docs/looks.md). So a child process asks, and is left behind if it does not answer.
"""

from __future__ import annotations

import os
import select
import time

from sockact.core import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import NoReturn

    # (memory in bytes, CPU time in seconds)
    Usage = tuple[int | None, float | None]

_SIGKILL = 9
_CHUNK = 1 << 16
_left_behind: list[int] = []


def usage(groups: Sequence[Sequence[int]], seconds: float) -> list[Usage]:
    """What each group of processes uses, over those that can be read; found within `seconds`."""
    _left_behind[:] = [pid for pid in _left_behind if os.waitpid(pid, os.WNOHANG)[0] == 0]
    unknown: list[Usage] = [(None, None)] * len(groups)
    if _left_behind:
        return unknown  # `status --watch` asks again and again.
    until = time.monotonic() + seconds
    try:
        reader, writer = os.pipe()
    except OSError:
        return unknown
    with open(reader, "rb", buffering=0):
        try:
            pid = os.fork()
        except OSError:
            os.close(writer)
            return unknown
        if pid == 0:
            _tell(groups, until, writer)
        os.close(writer)
        told, complete = _read_until(reader, until)
    if complete:
        os.waitpid(pid, 0)
    else:
        os.kill(pid, _SIGKILL)
        _left_behind.append(pid)
    found = [json_text.decode(line.decode()) for line in told.split(b"\n")[:-1]]
    return [(memory, cpu) for memory, cpu in found] + unknown[len(found) :]


def _tell(groups: Sequence[Sequence[int]], until: float, writer: int) -> NoReturn:
    """Write a line for each group, in the child."""
    try:
        for pids in groups:
            found = [(_memory(pid), _cpu(pid)) for pid in _in_time(pids, until)]
            if time.monotonic() >= until:
                break
            sums = [_sum(memory for memory, _ in found), _sum(cpu for _, cpu in found)]
            os.write(writer, json_text.encode(sums).encode() + b"\n")
    finally:
        os._exit(0)


def _read_until(reader: int, until: float) -> tuple[bytes, bool]:
    """Return what is written until then, and whether that is all."""
    told = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        if not (data := os.read(reader, _CHUNK)):
            return told, True
        told += data
    return told, False


def _in_time(pids: Iterable[int], until: float) -> Iterator[int]:
    """Each process once, until the time is over."""
    for pid in dict.fromkeys(pids):
        if time.monotonic() >= until:
            return
        yield pid


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _memory(pid: int) -> int | None:
    """Proportional set size, which counts shared pages once; resident size where it is secret."""
    try:
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") or None
    except OSError:
        return None


def _cpu(pid: int) -> float | None:
    try:
        # The command name is in parentheses and may itself hold any character.
        fields = _read(pid, "stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()
