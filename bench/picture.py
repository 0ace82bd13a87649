"""Draws docs/canary.svg: who answers new clients during two canaries of a real service.

`python -m bench.picture docs/canary.svg` runs one canary that is promoted, and one that is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bare import temporary
from sockact.core.canary import schedule
from sockact.core.canary.schedule import WHOLE, percent
from tests.support.program import Program, ask
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STEPS = "10% 5s, 30% 5s, 60% 5s"
CLIENTS = 4
BEFORE, AFTER = 2, 3  # seconds
DIES_IN = 2  # the step, from 1, in which the second canary is killed
COURSES = {"A canary that gets all clients": False, "A canary whose process is killed": True}
LEFT, TOP, WIDTH, HEIGHT, GAP = 48, 34, 300, 160, 60
# Of about the same contrast on white and on black.
TEXT, OLD, NEW = "#787878", "#4a86c5", "#cf7a26"
LEGEND = {"generation 1": OLD, "generation 2, the canary": NEW}


@dataclass
class Course:
    """One canary: in each second, by how many of the answers are the new generation's."""

    title: str
    shares: list[float] = field(default_factory=list)
    """0 to 1."""
    answers: int = 0
    failures: int = 0


def measure(title: str, dies: bool) -> Course:
    """Run a canary under load. With `dies`, its process is killed in the middle of a step."""
    with temporary() as folder:
        program = Program(folder)
        options = ("--lanes", "require")
        with Service(
            program.command, folder=folder, listen=program.listen, options=options
        ) as service:
            service.wait_ready()
            program.publish("2")
            return _watch(title, service, program, dies)


def _watch(title: str, service: Service, program: Program, dies: bool) -> Course:
    seen: list[tuple[float, str]] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                version = ask(("127.0.0.1", program.port))
            except OSError:
                version = ""
            seen.append((time.monotonic(), version))

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(BEFORE)
        outcome = service.reload("--canary", STEPS, "--canary-background")
        assert outcome.code == 0, outcome.stderr
        began = time.monotonic()
        steps = schedule.parse(STEPS).steps
        if dies:
            time.sleep(sum(step.seconds for step in steps[: DIES_IN - 1]) + steps[0].seconds / 2)
            os.kill(service.status()["generations"][1]["pid"], signal.SIGKILL)
        time.sleep(began + sum(step.seconds for step in steps) + AFTER - time.monotonic())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return course(title, [(at - began, version) for at, version in seen])


def course(title: str, seen: Sequence[tuple[float, str]]) -> Course:
    """The answers (seconds since the canary began, version; "": none) by the second."""
    found = Course(title, answers=len(seen), failures=sum(not version for _, version in seen))
    counts: dict[int, Counter[str]] = {}
    for at, version in seen:
        counts.setdefault(int(at // 1), Counter())[version] += 1
    for second in range(-BEFORE, max(counts, default=0)):
        counted = counts.get(second, Counter())
        found.shares.append(counted["2"] / max(1, counted["1"] + counted["2"]))
    return found


def draw(courses: Sequence[Course]) -> str:
    """The picture, a panel for each."""
    width = len(courses) * (WIDTH + GAP)
    height = TOP + HEIGHT + 58
    legend = "".join(
        f'<rect x="{LEFT + 150 * place}" y="{height - 20}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{LEFT + 150 * place + 18}" y="{height - 10}">{text}</text>'
        for place, (text, colour) in enumerate(LEGEND.items())
    )
    panels = "\n".join(
        _panel(one, LEFT + place * (WIDTH + GAP)) for place, one in enumerate(courses)
    )
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
  font-family="sans-serif" font-size="12" fill="{TEXT}">
<title>Who answers new clients during a canary with the steps {STEPS}</title>
{panels}
{legend}
</svg>
"""


def _panel(one: Course, left: int) -> str:
    across = _scale(-BEFORE, len(one.shares) - BEFORE, left, left + WIDTH)
    down = _scale(0, 1, TOP + HEIGHT, TOP)
    corners = [
        (across(second - BEFORE + more), down(share))
        for second, share in enumerate(one.shares)
        for more in (0, 1)
    ]
    outline = " ".join(f"{x:g},{y:g}" for x, y in corners)
    base = f"{left + WIDTH},{TOP + HEIGHT} {left},{TOP + HEIGHT}"
    bottom = TOP + HEIGHT
    lines = [
        f'<text x="{left}" y="{TOP - 14}" font-size="13" font-weight="bold">{one.title}</text>',
        f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="{OLD}"/>',
        f'<polygon points="{outline} {base}" fill="{NEW}"/>',
    ]
    for share in (0, *(step.share for step in schedule.parse(STEPS).steps), WHOLE):
        y = down(share / WHOLE)
        lines.append(f'<path d="M{left} {y:g}h{WIDTH}" stroke="#fff" stroke-dasharray="1 5"/>')
        text = percent(share).replace("%", " %")
        lines.append(f'<text x="{left - 5}" y="{y + 4:g}" text-anchor="end">{text}</text>')
    for second in range(0, len(one.shares) - BEFORE, 5):
        x = across(second)
        lines.append(f'<path d="M{x:g} {bottom}v5" stroke="{TEXT}"/>')
        lines.append(f'<text x="{x:g}" y="{bottom + 18}" text-anchor="middle">{second} s</text>')
    return "\n".join(lines)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def main() -> None:
    """Measure, write the picture, and say what was counted."""
    courses = [measure(title, dies=dies) for title, dies in COURSES.items()]
    Path(sys.argv[1]).write_text(draw(courses))
    for one in courses:
        sys.stdout.write(f"{one.title}: {one.answers} answers, {one.failures} failures\n")


if __name__ == "__main__":
    main()
