"""The parts of bench.measure that need lanes."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench import kills, refusals
from bench import lanes as steering
from bench import steered as steered_clients
from bench import warm as warm_up
from bench.table import milliseconds, render, say
from bench.tally import Failure

if TYPE_CHECKING:
    from collections.abc import Callable


def lane_kills(quick: bool) -> None:
    """SIGKILL at random moments of canaries, under load, with and without the kernel's help."""
    rows = []
    for server in kills.SERVERS[::2]:
        for migrate in (True, False):
            one = kills.measure_lanes(server, 6 if quick else 50, migrate=migrate)
            total = one.report.total()
            refused = str(total.failures.pop(Failure.REFUSED, 0))
            others = ", ".join(f"{number} {kind.value}" for kind, number in total.failures.items())
            numbers = [str(one.kills.total()), str(one.restarts), str(total.requests), refused]
            told = [str(one.told["passed on"]), str(one.told["reset"])]
            sysctl = str(int(migrate))
            rows.append([server, sysctl, *numbers, others, *told, "; ".join(one.trouble)])
    say("\nSIGKILL in canaries, each to one of: " + ", ".join(kills.LANES_WHO))
    say("(goal: nobody refused; with tcp_migrate_req=1, none reset in a queue)")
    head = ["server", "migrate", "kills", "restarts", "requests", "refused", "lost"]
    say(render([*head, "told: passed on", "told: reset", ""], rows))


def shares(quick: bool) -> None:
    """How exactly clients are shared out, and a canary that is taken back."""
    found, sticky, rights = steering.shares(2_000 if quick else 20_000)
    rows = [
        [one.family, f"{one.wanted:g} %", f"{one.found:.2f} %", str(one.connections)]
        for one in found
    ]
    say(f"\nShare of the new connections, steered with CapEff={rights} (goal: within 0.5 points)")
    say(render(["", "wanted", "found", "connections"], rows))
    say(
        f"\nBy client: of {sticky.clients} addresses, {sticky.chosen} reach the member that is to "
        f"get 20 %, and {sticky.both} reach both (goal: none)"
    )
    taken = [steering.rollback() for _ in range(3 if quick else 10)]
    times = [one.seconds for one in taken]
    requests, failures = sum(one.requests for one in taken), sum(one.failures for one in taken)
    say(
        f"\nRollback of a canary at 50 %: from the command's arrival at the supervisor to the "
        f"canary's last new client {milliseconds(statistics.median(times))} "
        f"(longest of {len(times)}: {milliseconds(max(times))}; goal: 10 ms); "
        f"{requests} requests, {failures} failures"
    )


def datagrams(quick: bool, count: int | None = None) -> None:
    """Datagrams that a blocking UDP server loses in reloads."""
    echo = steering.datagrams(count or (20_000 if quick else 1_000_000))
    say(
        f"\nBlocking UDP echo server without the shim: {echo.sent} datagrams in {echo.reloads} "
        f"reloads ({echo.failed} failed), {echo.lost} lost (goal: none)"
    )


def steered(quick: bool) -> None:
    """Who meets a release that fails its private proof; services with lanes and without."""
    proof = steered_clients.proof(5_000 if quick else 50_000)
    say(
        f"\nA release that responds with status 500, deployed {proof.reloads} times "
        f"({proof.accepted} accepted): {proof.requests} requests of clients, {proof.failures} "
        f"failures, {proof.seen} met it (goal: none)"
    )
    pairs, seconds = (3, 1.0) if quick else (15, 5.0)
    rows = []
    for server in steered_clients.SERVERS:
        one = steered_clients.steady(server, pairs, seconds)
        rates = [f"{rate:.0f}" for rate in one.rates]
        times = [milliseconds(p99) for p99 in one.p99s]
        ratios = [f"{statistics.median(x):.3f}" for x in (one.rate_ratios, one.p99_ratios)]
        rows.append([server.name, *rates, ratios[0], *times, ratios[1], str(one.failures)])
    say(f"\nNew connections to a service without lanes and with, {pairs} pairs of {seconds:g} s")
    head = ["server", "per second", "with lanes", "ratio", "p99", "with lanes", "ratio", "failures"]
    say(render(head, rows))


def warm(quick: bool) -> None:
    """Response times before and after a reload of an application that is slow at first."""
    seconds, runs = (3.0, 1) if quick else (10.0, 3)
    rows = []
    for server in warm_up.SERVERS:
        for option in ("", "--warm"):
            found = [warm_up.measure(server, bool(option), seconds) for _ in range(runs)]
            one = sorted(found, key=lambda each: each.ratio)[runs // 2]
            times = (one.steady.p99, one.during.p99, one.after.p99)
            ratio = f"{one.ratio:.2f}"
            counts = [f"{one.seconds:.1f} s", str(one.failures), one.told]
            rows.append([server, option, *map(milliseconds, times), ratio, *counts])
    say(
        f"\nWarm-up: p99 in the {seconds:g} s before and after a reload, by an application whose\n"
        f"first request in each worker takes {warm_up.FIRST_USE:g} s (goal: a ratio up to 1.2);\n"
        f"of {runs} runs each, the one with the median ratio"
    )
    head = ["server", "", "p99", "p99 in reload", "p99 after", "ratio", "reload", "failures", ""]
    say(render(head, rows))


def canaries(quick: bool) -> None:
    """How soon canaries that are worse are refused, and that one that is not is kept."""
    requests = 4_000 if quick else refusals.REQUESTS
    rows = []
    for release in (*refusals.WORSE, refusals.GOOD):
        one = refusals.measure(release, requests)
        seen = f"{one.seen} ({100 * one.seen / requests:.1f} %)"
        rows.append(
            [
                one.release,
                str(one.requests),
                seen,
                str(one.failed),
                f"{one.seconds:.1f} s",
                one.said,
            ]
        )
    say(
        f"\nCanaries that get a tenth of the clients, for at most {requests:,} requests, "
        f"{refusals.RATE} a second (goal: "
        f"worse ones are refused before they have had 5 % of these)"
    )
    head = ["release", "requests", "by the canary", "unanswered", "time", "answer of the reload"]
    say(render(head, rows))


PARTS: dict[str, Callable[[bool], None]] = {
    "lane-kills": lane_kills,
    "lanes": shares,
    "datagrams": datagrams,
    "steered": steered,
    "warm": warm,
    "canaries": canaries,
}
