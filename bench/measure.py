"""What sockact costs and what it spares, measured in one run beside the bare servers and the peers.

    make bench        (or: python -m bench.measure [--quick] [PART ...])

    python -m bench.measure commands --sockact OLD/bin/sockact --sockact NEW/bin/sockact

Ratios rather than absolute numbers: a busy or small machine changes both sides.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from typing import TYPE_CHECKING

from bench import commands, drain, logs, reloads, resources, rollback, throughput
from bench.peers import PEERS
from bench.table import milliseconds, render
from tests.servers import zoo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MANY, FEW = 10, 3


def say(text: str) -> None:
    """To whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measure_throughput(quick: bool) -> None:
    """Bare and wrapped, by wrk."""
    pairs, seconds = (3, 1) if quick else (15, 2)
    rows = []
    for server in throughput.SERVERS:
        one = throughput.compare(server, pairs, seconds)
        spread = f"{min(one.ratios):.3f} to {max(one.ratios):.3f}"
        ratio = f"{one.ratio:.3f}"
        rows.append(
            [one.server, f"{one.bare:.0f}", f"{one.wrapped:.0f}", ratio, spread, one.trouble]
        )
    say(f"\nThroughput, requests per second, {pairs} pairs of runs of {seconds} s (goal: 0.98)")
    say(render(["server", "bare", "wrapped", "ratio", "ratios", ""], rows))


def measure_supervisor(quick: bool) -> None:
    """Memory and wake-ups of the supervisor."""
    names = ("uvicorn asyncio",) if quick else ("uvicorn asyncio", "http.server 1.1")
    rows = []
    for name in names:
        one = resources.footprint(name)
        memory = [f"{one.resident_kib / 1024:.1f} MB", f"{one.proportional_kib / 1024:.1f} MB"]
        counts = [str(one.syscalls), str(one.switches), str(one.ticks)]
        rows.append([name, *memory, *counts, one.calls])
    say("\nSupervisor while serving, idle for 10 s (goals: 16 MB, no wake-ups of its own)")
    head = ["server", "resident", "proportional", "syscalls", "switches", "CPU ticks", "most"]
    say(render(head, rows))


def measure_start(quick: bool) -> None:
    """Time to the first answer."""
    rows = []
    for name in ("http.server", "uvicorn asyncio"):
        one = resources.first_answer(name, 3 if quick else 11)
        rows.append([name, *map(milliseconds, (one.bare, one.wrapped, one.added))])
    say("\nFrom the command to the first answer, medians (goal: at most 120 ms added)")
    say(render(["server", "bare", "wrapped", "added"], rows))


def measure_drain(quick: bool) -> None:
    """Time from the last busy connection's end to SIGTERM, and what a large drain costs."""
    rows = []
    for close in (True, False):
        one = drain.ends(5 if quick else 25, close)
        rows.append([one.name, str(one.drains), milliseconds(one.median), milliseconds(one.worst)])
    say("\nFrom the end of the last busy connection to SIGTERM (goal: at most 100 ms)")
    say(render(["the answer is complete, and", "drains", "median", "worst"], rows))
    rows = []
    for connections in (1000,) if quick else (1000, 10_000):
        found = drain.crowd(connections, 5 if quick else 15)
        share = f"{100 * found.share:.1f} %"
        rows.append(
            [str(connections), f"{found.newcomers:.0f}", share, milliseconds(found.longest)]
        )
    say("\nSupervisor while many connections drain (goal: at most 10 % of a core)")
    say(render(["connections", "new ones per second", "of a core", "to SIGTERM at the end"], rows))


def _row(one: reloads.Row) -> list[str]:
    if not one.windows:
        return [one.name, *[""] * (len(HEAD) - 2), one.remark]
    steady, during = one.latency()
    return [
        one.name,
        str(one.report.total().requests),
        str(one.report.failures()),
        f"{one.per_10000():.1f}",
        milliseconds(steady.p99),
        milliseconds(during.p99),
        f"{one.ratio():.1f}",
        milliseconds(during.longest),
        one.remark,
    ]


HEAD = ["way", "requests", "failures", "per 10,000", "steady p99", "p99 in reloads", "ratio"]
HEAD += ["longest", ""]


def measure_latency(quick: bool) -> None:
    """p99 during reloads of the asyncio servers; the window lasts until the drain is over."""
    count = FEW if quick else MANY
    rows = []
    for server in zoo.SERVERS:
        if server.asyncio and server.loads in (zoo.CONCURRENT, zoo.OTHERS):
            loads = reloads.SHORT_LOADS if server.announces_close else reloads.NEW_LOADS
            found = reloads.wrapped(server.name, count, loads, "--wait-drained")
            rows.append(_row(found))
    say(
        f"\nLatency of short requests, {count} reloads (goal: ratio of at most 3);\n"
        "keep-alive clients too, but for granian, which cannot announce a close"
    )
    say(render(HEAD, rows))


def measure_peers(quick: bool) -> None:
    """sockact and others under the same load."""
    count = FEW if quick else MANY
    rows = []
    for name in dict.fromkeys(kind.server for kind in PEERS):
        rows += [_row(reloads.peer(kind, count)) for kind in PEERS if kind.server == name]
        rows.append(_row(reloads.wrapped(name, count, reloads.LOADS)))
    say(f"\nThe same load and {count} reloads, other ways and sockact")
    say(render(HEAD, rows))


def measure_rollback(quick: bool) -> None:
    """From the failed probe of a release to the first answer of the one before."""
    count = FEW if quick else MANY
    rows = []
    for name in rollback.SERVERS:
        one = rollback.measure(name, count)
        times = (statistics.median(one.delays), max(one.delays))
        rows.append([name, str(one.requests), str(len(one.failures)), *map(milliseconds, times)])
    say(f"\n{count} releases whose probe fails: time to the predecessor's answer (goal: 50 ms)")
    say(render(["server", "requests", "failures", "median", "worst"], rows))


def measure_logs(quick: bool) -> None:
    """The log pump under load, and a disk that is full for a while."""
    rows = []
    for name, one in (
        (f"{logs.RELOADS} reloads, {logs.ROTATIONS} rotations", logs.rotations(5 if quick else 20)),
        (f"a disk full for {logs.FULL_SECONDS:g} s", logs.full_disk(5 if quick else 20)),
    ):
        shares = [f"{100 * share:.1f} %" for share in (one.share, one.supervisor)]
        memory = [f"{kib / 1024:.1f} MB" for kib in (one.resident_kib, one.proportional_kib)]
        counts = [str(number) for number in (one.written, one.missing, one.reported)]
        rows.append([name, f"{one.rate:.0f}", *shares, *memory, *counts, milliseconds(one.longest)])
    say("\nThe log pump (goals: at most 15 % of a core, no line missing but those reported;")
    say("no write of the program longer than 100 ms)")
    head = ["", "lines per second", "of a core", "supervisor", "resident", "proportional"]
    say(render([*head, "lines", "missing", "reported", "longest write"], rows))


def measure_commands(quick: bool, paths: Sequence[str] = ()) -> None:
    """The own time of commands, of this checkout or of those that are named."""
    runs = 5 if quick else 21
    rows = []
    for one in commands.compare(paths, runs):
        own = [milliseconds(one.own), f"{one.own_ratio:.2f}"]
        cpu = [milliseconds(one.cpu), f"{one.cpu_ratio:.2f}"]
        rows.append([one.command, one.sockact, *own, *cpu])
    say(f"\nCommands without the supervisor's work, medians of {runs} runs")
    say(render(["command", "sockact", "own time", "ratio", "CPU time", "ratio"], rows))


PARTS: dict[str, Callable[[bool], None]] = {
    "throughput": measure_throughput,
    "supervisor": measure_supervisor,
    "start": measure_start,
    "drain": measure_drain,
    "latency": measure_latency,
    "rollback": measure_rollback,
    "peers": measure_peers,
    "logs": measure_logs,
    "commands": measure_commands,
}


def main() -> int:
    """Measure the parts that were asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument(
        "--sockact", action="append", metavar="PATH", help="a command to compare by `commands`"
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_intermixed_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {sorted(unknown)[0]!r}: choose from {', '.join(PARTS)}")
    PARTS["commands"] = partial(measure_commands, paths=options.sockact or ())
    for name in options.parts or PARTS:
        PARTS[name](options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
