"""Runs fuzzers from the command line. Exit status 0: everything held."""

from __future__ import annotations

import argparse
import signal
import sys

import tests.fuzz
from tests.fuzz.all import BY_NAME, FUZZERS
from tests.fuzz.harness import run
from tests.support import leaks


def main() -> int:
    """Run those that are named; all by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=tests.fuzz.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0, help="[default: 60]")
    parser.add_argument("names", nargs="*", metavar="FUZZER", help=", ".join(BY_NAME))
    options = parser.parse_args()
    if unknown := {*options.names} - {*BY_NAME}:
        parser.error(f"no such fuzzer: {', '.join(sorted(unknown))}")
    leaks.become_subreaper()
    # A shell that started us in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    bad = 0
    for fuzzer in [BY_NAME[name] for name in options.names] or FUZZERS:
        sys.stdout.write(f"{fuzzer.name}: seed {options.seed}\n")
        sys.stdout.flush()
        seconds = 0.0 if options.messages else options.seconds
        report = run(fuzzer, options.seed, options.messages, seconds)
        sys.stdout.write(report.line() + "\n")
        if report.problems():
            bad += 1
            sys.stdout.write(f"  again: {report.replay()}\n")
        sys.stdout.flush()
        if report.interrupted:
            break
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
