"""Measures sockact beside servers without it, and beside other ways to reload.

    make bench        (or: python -m bench.measure [--quick] [PART ...])

    python -m bench.measure commands --sockact OLD/bin/sockact --sockact NEW/bin/sockact

Compare ratios rather than absolute numbers: a busy or small machine affects both sides.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from functools import partial
from typing import TYPE_CHECKING

from bench import (
    commands,
    drain,
    faults,
    kills,
    logs,
    measure_lanes,
    reloads,
    resources,
    rollback,
    throughput,
)
from bench.peers import PEERS
from bench.table import milliseconds, render, say
from bench.tally import Failure
from tests.servers import zoo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MANY, FEW = 10, 3


def measure_throughput(quick: bool) -> None:
    """Throughput with and without sockact, by wrk."""
    pairs, seconds = (3, 1) if quick else (15, 2)
    rows = []
    for server in throughput.SERVERS:
        one = throughput.compare(server, pairs, seconds)
        spread = f"{min(one.ratios):.3f} to {max(one.ratios):.3f}"
        ratio = f"{one.ratio:.3f}"
        rows.append(
            [one.server, f"{one.bare:.0f}", f"{one.wrapped:.0f}", ratio, spread, one.trouble]
        )
    say(f"\nThroughput in requests per second, {pairs} pairs of {seconds} s runs (goal: 0.98)")
    say(render(["server", "without", "sockact", "ratio", "range", ""], rows))


def measure_supervisor(quick: bool) -> None:
    """Memory and wake-ups of the supervisor."""
    names = ("uvicorn asyncio",) if quick else ("uvicorn asyncio", "http.server 1.1")
    rows = []
    for name in names:
        one = resources.footprint(name)
        memory = [f"{one.resident_kib / 1024:.1f} MiB", f"{one.proportional_kib / 1024:.1f} MiB"]
        counts = [str(one.syscalls), str(one.switches), str(one.ticks)]
        rows.append([name, *memory, *counts, one.calls])
    say("\nSupervisor of an idle service, within 10 s (goals: 15 MiB, no wake-ups)")
    head = ["server", "RSS", "PSS", "syscalls", "switches", "CPU ticks", "most frequent"]
    say(render(head, rows))


def measure_start(quick: bool) -> None:
    """Time to the first answer."""
    rows = []
    for name in ("http.server", "uvicorn asyncio"):
        one = resources.first_answer(name, 3 if quick else 11)
        rows.append([name, *map(milliseconds, (one.bare, one.wrapped, one.added))])
    say("\nTime from the command to the first answer, medians (goal: at most 80 ms added)")
    say(render(["server", "without", "sockact", "added"], rows))


def measure_drain(quick: bool) -> None:
    """Time from the last active connection to SIGTERM, and the cost of a large drain."""
    rows = []
    for close in (True, False):
        one = drain.ends(5 if quick else 25, close)
        rows.append([one.name, str(one.drains), milliseconds(one.median), milliseconds(one.worst)])
    say("\nTime from the end of the last active connection to SIGTERM (goal: at most 100 ms)")
    say(render(["after the answer", "drains", "median", "longest"], rows))
    rows = []
    for connections in (1000,) if quick else (1000, 10_000):
        found = drain.crowd(connections, 5 if quick else 15)
        share = f"{100 * found.share:.1f} %"
        rows.append(
            [str(connections), f"{found.newcomers:.0f}", share, milliseconds(found.longest)]
        )
    say("\nSupervisor while many connections drain (goal: at most 10 % of a core)")
    say(render(["connections", "new per second", "share of a core", "end to SIGTERM"], rows))


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


HEAD = ["method", "requests", "failures", "per 10,000", "p99", "p99 in reload", "ratio"]
HEAD += ["longest", ""]


def measure_latency(quick: bool) -> None:
    """p99 of the asyncio servers during reloads, each until the end of its drain."""
    count = FEW if quick else MANY
    rows = []
    for server in zoo.SERVERS:
        if server.asyncio and server.loads in (zoo.CONCURRENT, zoo.OTHERS):
            loads = reloads.SHORT_LOADS if server.announces_close else reloads.NEW_LOADS
            found = reloads.wrapped(server.name, count, loads, "--wait-drained")
            rows.append(_row(found))
    say(
        f"\nLatency of short requests, {count} reloads (goal: ratio of at most 3), with\n"
        "keep-alive clients except for granian, which cannot announce a close"
    )
    say(render(HEAD, rows))


def measure_peers(quick: bool) -> None:
    """sockact and other ways to reload, under the same load."""
    count = FEW if quick else MANY
    rows = []
    for name in dict.fromkeys(kind.server for kind in PEERS):
        rows += [_row(reloads.peer(kind, count)) for kind in PEERS if kind.server == name]
        rows.append(_row(reloads.wrapped(name, count, reloads.LOADS)))
    say(f"\nOther ways to reload and sockact: the same load, {count} reloads each")
    say(render(HEAD, rows))


def measure_rollback(quick: bool) -> None:
    """Time from a failed probe to the first answer of the previous release."""
    count = FEW if quick else MANY
    rows = []
    for name in rollback.SERVERS:
        one = rollback.measure(name, count)
        times = (statistics.median(one.delays), max(one.delays))
        rows.append([name, str(one.requests), str(len(one.failures)), *map(milliseconds, times)])
    say(f"\nRollback: failed probe to the previous release's answer, {count} times (goal: 50 ms)")
    say(render(["server", "requests", "failures", "median", "longest"], rows))


def measure_logs(quick: bool) -> None:
    """The log pump under load, and with a full disk."""
    rows = []
    for name, one in (
        (f"{logs.RELOADS} reloads, {logs.ROTATIONS} rotations", logs.rotations(5 if quick else 20)),
        (f"disk full for {logs.FULL_SECONDS:g} s", logs.full_disk(5 if quick else 20)),
    ):
        shares = [f"{100 * share:.1f} %" for share in (one.share, one.supervisor)]
        memory = [f"{kib / 1024:.1f} MiB" for kib in (one.resident_kib, one.proportional_kib)]
        counts = [str(number) for number in (one.written, one.missing, one.reported)]
        rows.append([name, f"{one.rate:.0f}", *shares, *memory, *counts, milliseconds(one.longest)])
    say("\nLog pump (goals: at most 15 % of a core, every missing line reported,")
    say("no write of the program longer than 100 ms)")
    head = ["", "lines per second", "share of a core", "supervisor", "RSS", "PSS"]
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


def measure_kills(quick: bool) -> None:
    """SIGKILL at random moments of reloads, under load."""
    rows = []
    for server, count in zip(kills.SERVERS, (5, 5, 5) if quick else (70, 65, 65), strict=True):
        one = kills.measure(server, count)
        total = one.report.total()
        refused = str(total.failures.pop(Failure.REFUSED, 0))
        others = ", ".join(f"{number} {kind.value}" for kind, number in total.failures.items())
        numbers = [str(one.kills.total()), str(one.restarts), str(total.requests)]
        rows.append([server, *numbers, refused, others, "; ".join(one.trouble)])
    say("\nSIGKILL in reloads, each to one of: " + ", ".join(kills.WHO) + " (goal: nobody refused)")
    head = ["server", "kills", "restarts", "requests", "refused", "lost in the killed process", ""]
    say(render(head, rows))


def measure_faults(quick: bool) -> None:
    """Reloads under load where something is refused, short, full, gone, or large."""
    reloads = 2 if quick else 5
    rows = []
    for server in faults.SERVERS[:1] if quick else faults.SERVERS:
        for fault in faults.faults():
            rows.append([server, fault.name, *_outcome(faults.measure(fault, server, reloads))])
    workers, listeners, connections = (50, 16, 1000) if quick else (500, 64, 10_000)
    for kind, count in (("workers", workers), ("listeners", listeners)):
        found, said = faults.crowd(kind, count, reloads)
        found.trouble = found.trouble or said
        rows.append(["crowd", f"{count} {kind}", *_outcome(found)])
    found, reset = faults.kept(connections, 4 * reloads)
    found.trouble = found.trouble or f"{reset} of the kept connections reset"
    rows.append(["uvicorn asyncio", f"{connections} kept connections", *_outcome(found)])
    say("\nReloads under load in spite of faults (goal: none fails, no request fails)")
    head = ["server", "fault", "reloads", "failed", "longest", "requests", "failed", "gate"]
    say(render([*head, "RSS", "descriptors", ""], rows))


def _outcome(one: faults.Outcome) -> list[str]:
    failed = sum(code != 0 for code in one.codes)
    longest = milliseconds(max(one.seconds, default=0.0))
    requests = [str(one.report.total().requests), str(one.report.failures())]
    size = [f"{one.resident_kib / 1024:.1f} MiB", str(one.descriptors)]
    return [str(len(one.codes)), str(failed), longest, *requests, one.gate, *size, one.trouble]


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
    "kills": measure_kills,
    "faults": measure_faults,
    **measure_lanes.PARTS,
}


def main() -> int:
    """Run the measurements named on the command line; all by default."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs")
    parser.add_argument(
        "--sockact", action="append", metavar="PATH", help="a command to compare by `commands`"
    )
    parser.add_argument(
        "--datagrams", type=int, metavar="N", help="number of datagrams that `datagrams` sends"
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_intermixed_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {sorted(unknown)[0]!r}; choose from {', '.join(PARTS)}")
    PARTS["commands"] = partial(measure_commands, paths=options.sockact or ())
    PARTS["datagrams"] = partial(measure_lanes.datagrams, count=options.datagrams)
    for name in options.parts or PARTS:
        PARTS[name](options.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
