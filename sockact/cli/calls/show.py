"""A status as text for people."""

from __future__ import annotations

import shlex
import time
from typing import TYPE_CHECKING, Any

from sockact.cli.calls import unit_facts
from sockact.cli.main import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def show(status: dict[str, Any], previous: dict[str, Any] | None = None) -> str:
    """The service in a few lines. With a `previous` status, CPU is the share used since then."""
    heading = f"{status['name']}: {status['state']}, supervisor {status['pid']}"
    command = (
        f"  {shlex.join(status['command'])} (adopt {status['adopt']}, ready {status['ready']})"
    )
    blocks = [[heading, command], _generations(status, previous), _listeners(status)]
    if unit := status.get("systemd"):
        blocks.append([unit_facts.describe(unit)])
    # A supervisor from before an upgrade does not say.
    blocks += [
        [_log(log)] for log in status.get("logs") or () if log["error"] or log["dropped_lines"]
    ]
    if watch := status.get("watch"):
        blocks.append([_watch(watch)])
    if failures := (status.get("starts") or {}).get("failures"):
        blocks.append([_failures(failures, status["starts"])])
    if handover := status.get("handover"):
        blocks.append(["  last handover: " + _handover(handover)])
    return "\n".join(printable(line) for block in blocks for line in block)


def span(seconds: float) -> str:
    """A time span in its two largest units, such as 3min 5s."""
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _SPANS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part[0] != "0") or "0s"


def _log(log: dict[str, Any]) -> str:
    """What is wrong with a log."""
    found = []
    if log["error"]:
        waiting = f"{log['waiting_bytes'] / 2**20:.1f} MiB wait"
        found.append(f"cannot be written ({log['error']}), {waiting}")
    if log["dropped_lines"]:
        found.append(f"lines dropped: {log['dropped_lines']}")
    return f"  log {log['path']}: {'; '.join(found)}"


def _watch(watch: dict[str, Any]) -> str:
    return "; ".join(filter(None, (f"  watches {', '.join(watch['paths'])}", watch["stopped"])))


def _failures(failures: list[dict[str, Any]], starts: dict[str, Any]) -> str:
    limit = f" of {starts['burst']} until a reload has to be forced" if starts["burst"] else ""
    ago = span(max(0.0, time.time() - failures[-1]["at_usec"] / 1_000_000))
    return (
        f"  failures in the last {span(starts['interval_seconds'])}: {len(failures)}{limit}; "
        f"the last {ago} ago: generation {failures[-1]['generation']}: {failures[-1]['reason']}"
    )


def _state(generation: dict[str, Any]) -> str:
    state = "on trial" if generation.get("on_trial") else generation["state"]
    left = generation.get("seconds_left")
    return state if left is None else f"{state} (<{span(left)})"


def _generations(status: dict[str, Any], previous: dict[str, Any] | None) -> list[str]:
    before = {old["number"]: old for old in previous["generations"]} if previous else {}
    versions = any(generation.get("version") for generation in status["generations"])
    header = (
        "GENERATION",
        "STATE",
        "PID",
        "AGE",
        "BUSY",
        "FRESH",
        "QUIET",
        "MEMORY",
        "CPU",
        "GATE",
        *(["VERSION"] if versions else []),
    )
    rows = [
        (
            str(generation["number"]),
            _state(generation),
            str(generation["pid"]),
            span(generation["age_seconds"]),
            *_connections(generation.get("connections")),
            _memory(generation["memory_bytes"]),
            _cpu(generation, before.get(generation["number"])),
            _gate(generation),
            *([generation.get("version", "")] if versions else []),
        )
        for generation in status["generations"]
    ]
    return _table(header, rows)


def _connections(counts: dict[str, int] | None) -> tuple[str, str, str]:
    if counts is None:
        return ("-", "-", "-")
    return (str(counts["busy"]), str(counts["fresh"]), str(counts["quiet"]))


def _memory(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.1f} MiB"


def _cpu(generation: dict[str, Any], before: dict[str, Any] | None) -> str:
    used = generation["cpu_seconds"]
    if used is None:
        return "-"
    if not before or before["cpu_seconds"] is None:
        return f"{used:.1f} s"
    elapsed = generation["age_seconds"] - before["age_seconds"]
    # A process that ended took its CPU time along.
    share = max(0.0, used - before["cpu_seconds"]) / elapsed if elapsed > 0 else 0.0
    return f"{share:.0%}"


def _gate(generation: dict[str, Any]) -> str:
    gate, by = str(generation["gate"]), generation.get("gate_by")
    # Once, when it says none twice. A supervisor from before an upgrade does not say.
    how = ": ".join(filter(None, [by if by != gate else None, generation["gate_reason"]]))
    return f"{gate} ({how})" if how else gate


def _listeners(status: dict[str, Any]) -> list[str]:
    rows = [
        (listener["name"], listener["address"], listener["type"], _queue(listener))
        for listener in status["listeners"]
    ]
    return _table(("LISTENER", "ADDRESS", "TYPE", "QUEUE"), rows)


def _queue(listener: dict[str, Any]) -> str:
    length, limit = listener.get("queue_length"), listener.get("queue_limit")
    return "-" if length is None else f"{length}/{'?' if limit is None else limit}"


def _handover(handover: dict[str, Any]) -> str:
    ago = span(max(0.0, time.time() - handover["requested_usec"] / 1e6))
    before = handover.get("from")
    way = f"generation {handover['to']}" if before is None else f"{before} to {handover['to']}"
    text = f"{way}, {handover['outcome']} after {handover['duration_seconds']:.2f} s, {ago} ago"
    return f"{text}: {handover['reason']}" if handover["reason"] else text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, nothing at all without rows."""
    if not rows:
        return []
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
