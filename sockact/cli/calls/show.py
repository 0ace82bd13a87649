"""A status as text for people, in lines of at most 80 columns, except for longer words."""

from __future__ import annotations

import time

from sockact.cli.terminal.output import printable
from sockact.units import unit_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

COLUMNS = 80
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_ACCEPTING = {
    "open": "accepting",
    "closing": "about to stop accepting",
    "closed": "no longer accepting",
    "opening": "about to accept again",
    "none": "cannot stop accepting",
}
"""By the states of a gate."""
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%+=:,./-_")
"""No shell treats these specially."""
_HEADING = "  GENERATION  STATE"


def show(status: dict[str, Any], previous: dict[str, Any] | None = None) -> str:
    """The service in a few lines. With a `previous` status, CPU is the share used since then."""
    found = (printable(line) for line in _lines(status, previous))
    return "\n".join(part for line in found for part in _folded(line))


def span(seconds: float) -> str:
    """A time span in its two largest units, such as 3 min 5 s."""
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _SPANS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part[0] != "0") or "0 s"


def ago(usec: int) -> str:
    """How long ago this time of CLOCK_REALTIME was."""
    return f"{span(max(0.0, time.time() - usec / 1e6))} ago"


def canary(found: dict[str, Any]) -> str:
    """How far a canary is."""
    text = f"canary: {found['share'] / 10:g} % of new clients"
    if found["held"]:
        return f"{text}, until it is promoted or rolled back"
    left = "" if found["seconds_left"] is None else f", up to {span(found['seconds_left'])} left"
    return f"{text}, step {found['step']} of {found['steps']}{left}"


def state_of(status: dict[str, Any]) -> str:
    """The state of a service, from its status or its entry in a list."""
    pause = status["pause"]
    if pause is None or not pause["active"]:
        state: str = status["state"]
        return state
    if not pause["complete"]:
        return "about to pause (by the operator)"
    return f"paused (by the operator), up to {span(pause['seconds_left'] or 0.0)} left"


def _pause(pause: dict[str, Any]) -> str:
    ended = ago(pause["ended_usec"] or 0)
    return f"ended {ended} after {span(pause['duration_seconds'])}: {pause['reason']}"


def _folded(line: str) -> Iterator[str]:
    """The line in parts that fit COLUMNS, as far as its words do; further ones are indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    while len(line) > COLUMNS:
        at = line.rfind(" ", len(indent), COLUMNS + 1)
        if at < 0 and (at := line.find(" ", COLUMNS)) < 0:
            break
        yield line[:at]
        line = indent + line[at + 1 :]
    yield line


def _lines(status: dict[str, Any], previous: dict[str, Any] | None) -> Iterator[str]:
    yield f"{status['name']}: {state_of(status)} (supervisor pid {status['pid']})"
    yield f"  {_command(status['command'])} (adopt {status['adopt']}, ready {status['ready']})"
    before = {old["number"]: old for old in previous["generations"]} if previous else {}
    if status["generations"]:
        yield _HEADING
    for generation in status["generations"]:
        state = _state(generation, status["canary"])
        yield from _generation(generation, state, before.get(generation["number"]))
    for listener in status["listeners"]:
        yield f"  listener {listener['name']}: {_listener(listener)}"
        yield from (f"    {_lane(lane)}" for lane in listener["lanes"])
        if listener["no_lanes"]:
            yield f"    no lanes: {listener['no_lanes']}"
    if (left := status.get("unaccepted")) and any(left.values()):
        passed = f"{left['passed_on']} passed on, {left['reset']} reset"
        yield f"  connections that a generation had not accepted: {passed}"
    if found := status.get("canary"):
        verdict, reasons = found["verdict"].replace("-", " "), "; ".join(found["reasons"])
        yield f"  verdict on the canary: {verdict}: {reasons}"
    if unit := status.get("systemd"):
        yield f"  {unit_facts.describe(unit)}"
    for log in status["logs"]:
        if log["error"] or log["dropped_lines"]:
            yield f"  log {log['path']}: {_log(log)}"
    if watch := status["watch"]:
        yield "; ".join(filter(None, (f"  watching {', '.join(watch['paths'])}", watch["stopped"])))
    pause = status["pause"]
    if pause and not pause["active"]:
        yield f"  last pause: {_pause(pause)}"
    if failures := status["starts"]["failures"]:
        yield f"  {_failures(failures, status['starts'])}"
    if handover := status["handover"]:
        yield f"  last handover: {_handover(handover)}"


def _command(words: list[str]) -> str:
    if all(word and _PLAIN.issuperset(word) for word in words):
        return " ".join(words)
    import shlex  # With `re`, which takes longer to load than all else here.

    return shlex.join(words)


def _generation(
    generation: dict[str, Any], state: str, before: dict[str, Any] | None
) -> Iterator[str]:
    version = f", version {generation['version']}" if generation["version"] else ""
    yield f"  {generation['number']:<10}  {state}{version}"
    facts = [f"pid {generation['pid']}", f"started {span(generation['age_seconds'])} ago"]
    if (size := generation["memory_bytes"]) is not None:
        facts.append(f"memory {size / 2**20:.1f} MiB")
    if generation["cpu_seconds"] is not None:
        facts.append(f"CPU {_cpu(generation, before)}")
    yield f"    {', '.join(facts)}"
    yield f"    {_connections(generation['connections'])}; {_accepting(generation)}"
    if moving := generation.get("moving"):
        yield f"    {_moving(moving)}"
    if generation["gate_reason"]:
        yield f"    {generation['gate_reason']}"
    # A supervisor from before an upgrade does not say.
    if unlisted := ", ".join(generation.get("unlisted") or ()):
        yield f"    no listener for {unlisted}: its clients lose connections at each reload"


def _state(generation: dict[str, Any], under_way: dict[str, Any] | None) -> str:
    if under_way and under_way["generation"] == generation["number"]:
        return canary(under_way)
    state: str = "on trial" if generation["on_trial"] else generation["state"]
    if (warming := generation.get("warming")) is not None:
        state = f"warming up: {warming}" if warming else "warming up"
    left = generation["seconds_left"]
    return state if left is None else f"{state}, up to {span(left)} left"


def _connections(counts: dict[str, int] | None) -> str:
    if counts is None:
        return "connections: not counted"
    return f"connections: {counts['busy']} active, {counts['fresh']} new, {counts['quiet']} idle"


def _moving(moving: dict[str, Any]) -> str:
    told = f"connections moved to generation {moving['to']}: {moving['moved']}"
    told += f", {moving['parked']} waiting for a request, {moving['returned']} returned"
    return f"{told}; {moving['reason']}" if moving["reason"] else told


def _cpu(generation: dict[str, Any], before: dict[str, Any] | None) -> str:
    used: float = generation["cpu_seconds"]
    if not before or before["cpu_seconds"] is None:
        return f"{used:.1f} s"
    elapsed = generation["age_seconds"] - before["age_seconds"]
    # A process that ended took its CPU time along.
    share = max(0.0, used - before["cpu_seconds"]) / elapsed if elapsed > 0 else 0.0
    return f"{100 * share:.0f} %"


def _accepting(generation: dict[str, Any]) -> str:
    gate, by = generation["gate"], generation["gate_by"]
    words: str = _ACCEPTING.get(gate, gate)
    # Once, when it says none twice. A supervisor from before an upgrade does not say.
    if by == gate or by is None:
        return words
    return f"{words} ({'cannot stop' if by == 'none' else by})"


def _listener(listener: dict[str, Any]) -> str:
    text = f"{listener['address']} ({listener['type']})"
    length, limit = listener["queue_length"], listener["queue_limit"]
    if length is None:
        return text
    return f"{text}, {length} of {'?' if limit is None else limit} queued"


def _lane(lane: dict[str, Any]) -> str:
    numbers = ", ".join(map(str, lane["generations"]))
    whose = f"generation {numbers}" if numbers else "no generation"
    waiting = "" if lane["queue_length"] is None else f", {lane['queue_length']} queued"
    return f"lane {lane['number']}: {whose}, {lane['share'] / 10:g} % of new clients{waiting}"


def _log(log: dict[str, Any]) -> str:
    """What is wrong with a log."""
    found = []
    if log["error"]:
        found.append(f"cannot be written ({log['error']})")
        found.append(f"{log['waiting_bytes'] / 2**20:.1f} MiB waiting")
    if log["dropped_lines"]:
        found.append(f"lines dropped: {log['dropped_lines']}")
    return ", ".join(found)


def _failures(failures: list[dict[str, Any]], starts: dict[str, Any]) -> str:
    count = "1 failure" if len(failures) == 1 else f"{len(failures)} failures"
    limit = f" (reloads need --force after {starts['burst']})" if starts["burst"] else ""
    last = failures[-1]
    return (
        f"{count} in the last {span(starts['interval_seconds'])}{limit}; "
        f"last: {ago(last['at_usec'])}, generation {last['generation']}: {last['reason']}"
    )


def _handover(handover: dict[str, Any]) -> str:
    before, seconds = handover["from"], f"{handover['duration_seconds']:.2f} s"
    way = f"generation {handover['to']}"
    if before is not None:
        way = f"generation {before} to {handover['to']}"
    outcome = handover["outcome"]
    if outcome == "pending":
        return f"{way}, in progress for {seconds}"
    ended = "succeeded" if outcome == "committed" else outcome
    text = f"{way}, {ended} after {seconds}, {ago(handover['requested_usec'])}"
    return f"{text}: {handover['reason']}" if handover["reason"] else text
