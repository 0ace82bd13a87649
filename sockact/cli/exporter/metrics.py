"""Turns the answers of supervisors into Prometheus' metric families; docs/metrics.md lists them.

The answers have the described types (supervisor/control/answers.py). A service whose histograms do
not fit counts as down, and cannot spoil what the others answer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.samples import Exemplar

from sockact.cli.exporter.families import COUNTER, FAMILIES, HISTOGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from sockact.cli.exporter.families import Family

STATES = ("starting", "serving", "reloading", "backoff", "stopping")
_MOST = 256
"""Number of generations, listeners and handovers of one service; no supervisor has that many."""
_MOST_LANES = 16
"""Lanes of one listener, and generations of one lane."""
_MOST_BOUNDS = 64
_MOST_KINDS = 32
"""Number of histograms of one family; each has a line for every bound."""
_LONGEST = 200
_ID = re.compile(r"[0-9a-f]{32}")


Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Buckets:
    """A histogram: how many took at most how long, for each bound and for any time."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    exemplars: Mapping[int, Exemplar]
    """The exemplar of each bucket that has one, by the index of the bucket."""


@dataclass
class Samples:
    """The values and histograms of one service, by family and the values of its labels."""

    values: dict[Key, float] = field(default_factory=dict)
    histograms: dict[Key, Buckets] = field(default_factory=dict)

    def put(self, name: str, value: float, *labels: object) -> None:
        """Add the value of a metric that has these labels."""
        self.values[name, tuple(map(_text, labels))] = value


def samples(status: Mapping[str, Any], history: Mapping[str, Any] | None) -> Samples:
    """Return the samples of a service that has answered; an older supervisor has no history.

    Raises ValueError for a histogram whose bounds and counts do not fit together.
    """
    found = Samples()
    found.put("sockact_up", 1)
    _service(found, status)
    for generation in status["generations"][:_MOST]:
        _generation(found, generation)
    for listener in status["listeners"][:_MOST]:
        labels = listener["name"], listener["address"]
        if listener["queue_length"] is not None:
            found.put("sockact_accept_queue_length", listener["queue_length"], *labels)
        if listener["queue_limit"] is not None:
            found.put("sockact_accept_queue_limit", listener["queue_limit"], *labels)
        for lane in listener["lanes"][:_MOST_LANES]:
            _lane(found, lane, labels)
    for outcome, count in (status["unaccepted"] or {}).items():
        found.put("sockact_unaccepted_total", count, outcome)
    if status["canary"]:
        _canary(found, status["canary"], status["generations"])
    if history is not None:
        _history(found, history)
    return found


def down() -> Samples:
    """Return the samples of a service that has not answered."""
    found = Samples()
    found.put("sockact_up", 0)
    return found


def families(services: Mapping[str, Samples]) -> Iterator[Metric]:
    """All metrics, in the order of FAMILIES; `services` by name."""
    for family in FAMILIES:
        labels = ("service", *family.labels)
        if family.kind == HISTOGRAM:
            yield _histogram(family, labels, services)
            continue
        kind = CounterMetricFamily if family.kind == COUNTER else GaugeMetricFamily
        metric = kind(family.name, family.help, labels=labels)
        for service, found in services.items():
            for (name, values), value in found.values.items():
                if name == family.name:
                    metric.add_metric((service, *values), value)
        yield metric


def _histogram(
    family: Family, labels: tuple[str, ...], services: Mapping[str, Samples]
) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(family.name, family.help, labels=labels)
    for service, found in services.items():
        for (name, values), one in found.histograms.items():
            if name == family.name:
                metric.add_metric((service, *values), _cumulative(one), sum_value=one.sum)
    return metric


def _cumulative(one: Buckets) -> list[Any]:
    buckets: list[Any] = []
    total = 0
    for place, bound in enumerate((*one.bounds, math.inf)):
        total += one.counts[place]
        bucket = (_bound(bound), total)
        exemplar = one.exemplars.get(place)
        buckets.append((*bucket, exemplar) if exemplar else bucket)
    return buckets


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else repr(bound)


def _service(found: Samples, status: Mapping[str, Any]) -> None:
    found.put("sockact_service_info", 1, status["version"], status["adopt"], status["ready"])
    for state in STATES:
        found.put("sockact_service_state", int(status["state"] == state), state)
    pause = status["pause"]
    found.put("sockact_paused", int(pause is not None and pause["active"]))
    starts = status["starts"]
    found.put("sockact_start_limit_failures", len(starts["failures"]))
    found.put("sockact_start_limit_burst", starts["burst"])
    found.put("sockact_start_limit_interval_seconds", starts["interval_seconds"])


def _generation(found: Samples, generation: Mapping[str, Any]) -> None:
    number = generation["number"]
    state, gate = generation["state"], generation["gate"]
    found.put("sockact_generation_info", 1, number, state, gate, generation["version"])
    started = generation["started_usec"] / 1e6
    found.put("sockact_generation_start_time_seconds", started, number)
    for kind in ("busy", "fresh", "quiet"):
        if generation["connections"] is not None:
            found.put("sockact_connections", generation["connections"][kind], number, kind)
    if generation["moving"] is not None:
        found.put("sockact_connections_parked", generation["moving"]["parked"], number)


def _lane(found: Samples, lane: Mapping[str, Any], listener: tuple[str, str]) -> None:
    labels = *listener, lane["number"]
    for generation in lane["generations"][:_MOST_LANES]:
        found.put("sockact_lane_info", 1, *labels, generation)
    found.put("sockact_lane_share_ratio", lane["share"] / 1000, *labels)
    if lane["queue_length"] is not None:
        found.put("sockact_lane_queue_length", lane["queue_length"], *labels)


def _canary(
    found: Samples, canary: Mapping[str, Any], generations: Sequence[Mapping[str, Any]]
) -> None:
    number = canary["generation"]
    version = next((one["version"] for one in generations if one["number"] == number), "")
    found.put("sockact_canary_share_ratio", canary["share"] / 1000, number, version)
    found.put("sockact_canary_step", canary["step"])
    found.put("sockact_canary_steps", canary["steps"])
    for name, key in (
        ("sockact_canary_step_remaining_seconds", "seconds_left"),
        ("sockact_canary_waiting_seconds", "waiting_seconds"),
    ):
        if canary[key] is not None:
            found.put(name, canary[key])


def _history(found: Samples, history: Mapping[str, Any]) -> None:
    totals, handovers = history["totals"], history["handovers"][-_MOST:]
    for last in handovers[-1:]:
        told = last["kind"], last["outcome"], last["reason"]
        found.put("sockact_last_handover_info", 1, *told)
    for one in totals["handovers"][:_MOST_KINDS]:
        labels = one["kind"], one["outcome"]
        timed = [
            (entry["duration_seconds"], entry)
            for entry in handovers
            if (entry["kind"], entry["outcome"]) == labels
        ]
        buckets = _buckets(one["seconds"], timed)
        found.histograms["sockact_handover_duration_seconds", tuple(map(_text, labels))] = buckets
        found.put("sockact_handovers_total", sum(buckets.counts), *labels)
        if labels == ("rollback", "committed"):
            found.put("sockact_rollbacks_total", sum(buckets.counts), "command")
    drained = [(took, entry) for entry in handovers if (took := _drained(entry)) is not None]
    found.histograms["sockact_drain_duration_seconds", ()] = _buckets(totals["drains"], drained)
    found.put("sockact_rollbacks_total", totals["taken_back"], "trial")
    found.put("sockact_forced_closes_total", totals["forced_closes"])
    found.put("sockact_failures_total", totals["failures"])
    found.put("sockact_restarts_total", totals["restarts"])
    for one in totals["hook_failures"][:_MOST]:
        found.put("sockact_hook_failures_total", one["count"], one["event"])
    for one in totals["canaries"][:_MOST]:
        found.put("sockact_canaries_total", one["count"], one["outcome"])
    for one in totals["moves"]:
        if one["outcome"] in ("moved", "returned"):
            found.put(f"sockact_connections_{one['outcome']}_total", one["count"])
    found.put("sockact_supervisor_starts_total", totals["supervisor_starts"])


def _drained(entry: Mapping[str, Any]) -> float | None:
    """Return the duration of the drain after this handover, in seconds; None if the handover led to
    no drain, or to one that has not ended.
    """
    spans = [one["seconds"] for one in entry["phases"] if one["name"] in ("drain", "stop")]
    over = entry["outcome"] == "committed" and not entry["phase"]
    return sum(spans) if over and spans else None


def _buckets(times: Mapping[str, Any], timed: Iterable[tuple[float, Mapping[str, Any]]]) -> Buckets:
    # JSON may have 1 for 1.0, which would be another label.
    bounds = tuple(map(float, times["bounds"][:_MOST_BOUNDS]))
    counts = tuple(times["counts"])
    if list(bounds) != sorted(set(bounds)) or len(counts) != len(bounds) + 1:
        raise ValueError("the bounds and counts of a histogram do not fit together")
    exemplars = {}
    for seconds, entry in timed:  # The newest comes last.
        place = sum(seconds > bound for bound in bounds)
        if _ID.fullmatch(entry["id"]) and counts[place]:
            ended = entry["requested_usec"] / 1e6 + seconds
            exemplars[place] = Exemplar({"handover": entry["id"]}, seconds, ended)
    return Buckets(bounds, counts, times["sum"], exemplars)


def _text(value: object) -> str:
    """Return the value of a label. JSON strings may have surrogates, which UTF-8 cannot encode."""
    return str(value)[:_LONGEST].encode("utf-8", "replace").decode()
