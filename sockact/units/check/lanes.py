"""Rules about lanes: equal lines of .socket units, and what a service with lanes needs."""

from __future__ import annotations

from collections import Counter

from sockact.core.lanes import missing
from sockact.core.lanes.lending import MOST
from sockact.core.matching import Address, Family, Kind
from sockact.core.settings import LaneUse
from sockact.kernel.sockets import reuseport
from sockact.units.check.finding import ADVICE, ERROR, WARNING, Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sockact.core.settings import Settings
    from sockact.units.facts import Facts, Unit

_SYSCTL = "net.ipv4.tcp_migrate_req"


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """All findings about lanes."""
    lines: Counter[Address] = Counter()
    for socket in facts.sockets:
        yield from _equal_lines(socket)
        lines += Counter(socket.lines()[0])
    if settings is None:
        return
    if settings.lanes is not LaneUse.OFF:
        yield from _needs(facts, settings, lines)
    elif settings.canary:
        message = "a canary needs lanes, so the service does not start"
        yield Finding(ERROR, facts.service.name, "--canary", message, "add --lanes auto")
    elif max(lines.values(), default=1) > 1:
        message = "only the first of several equal lines gets clients with --lanes off"
        write = "add --lanes auto to ExecStart=, or keep one line for each address"
        yield Finding(WARNING, facts.sockets[0].name, "", message, write)


def _equal_lines(socket: Unit) -> Iterator[Finding]:
    for address, count in Counter(socket.lines()[0]).items():
        line = missing.listen_line(address)
        if count > 1 and address.family is Family.UNIX:
            message = "systemd cannot open the second of equal lines for a Unix socket"
            yield Finding(ERROR, socket.name, line, message, "keep one of them")
        elif count > 1 and socket.get("ReusePort") != "yes":
            message = f"systemd cannot open the second of {count} equal lines"
            write = "set ReusePort=yes (they are lanes), or keep one of them"
            yield Finding(ERROR, socket.name, line, message, write)


def _needs(facts: Facts, settings: Settings, lines: Mapping[Address, int]) -> Iterator[Finding]:
    """What a service needs that is to have lanes."""
    strict = settings.lanes is LaneUse.REQUIRE or bool(settings.canary)
    name, now = facts.service.name, f"--lanes {settings.lanes}"
    if never := next((one for one in lines if one.family is Family.UNIX), None):
        message, _, write = missing.unix(never).partition("; ")
        if strict:
            message += ", so the service does not start"
            yield Finding(ERROR, name, now, message, write)
        return
    yield from _too_few(facts, lines, strict=strict)
    if reuseport.migrates() is False and _has_streams(lines, settings):
        message = f"{_SYSCTL} is 0: what waits for a generation that dies or is stuck is reset"
        write = f"write {_SYSCTL} = 1 to /etc/sysctl.d/60-sockact-lanes.conf (docs/lanes.md)"
        yield Finding(ADVICE, name, now, message, write)


def _too_few(facts: Facts, lines: Mapping[Address, int], *, strict: bool) -> Iterator[Finding]:
    opens = facts.service.is_root or facts.systemctl != "systemctl"
    fewest = min(lines, key=lines.__getitem__, default=None)
    if fewest is None or (opens and max(lines.values()) == 1):
        return
    line, count = missing.listen_line(fewest), lines[fewest]
    socket = next(one.name for one in facts.sockets if fewest in one.addresses()[0])
    write = (
        f"write it {missing.LINES} times (at least {missing.FEWEST}, for the generation that "
        f"serves and its successor; at most {MOST}) and set ReusePort=yes"
    )
    if count < missing.FEWEST:
        message = "one line is no lanes: a reload overlaps, and a canary is possible, with several"
        if strict:
            message = "the service does not start: it needs lanes, and one line is none"
        yield Finding(ERROR if strict else WARNING, socket, line, message, write)
    elif count < missing.LINES:
        message = "while a generation drains, a reload shares a listener, and a canary is refused"
        yield Finding(ADVICE, socket, line, message, f"write it {missing.LINES} times")


def _has_streams(lines: Mapping[Address, int], settings: Settings) -> bool:
    if lines:
        return any(one.kind is Kind.STREAM for one in lines)
    return any("udp:" not in text for text in settings.listen)
