"""Metrics from the answers of supervisors, and the dashboards and alerts that use them."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from sockact.cli.exporter import metrics
from sockact.cli.exporter.families import COUNTER, FAMILIES, HISTOGRAM
from sockact.core.history.ledger import BOUNDS, Account, LedgerEntry, Span, Times, Totals
from sockact.supervisor.records.ledger import Ledger
from tests import ROOT
from tests.support import markdown

if TYPE_CHECKING:
    from sockact.cli.exporter.metrics import Samples

ID = "0123456789abcdef" * 2
ENTRY = LedgerEntry(
    *(ID, 1_700_000_000.0, "unit", False, 1, 2),
    outcome="committed",
    seconds=0.3,
    spans=(Span("start", 0.3), Span("drain", 1.0), Span("stop", 0.2)),
)
TOTALS = Totals(
    reloads_committed=Times().plus(0.3), drains=Times().plus(1.2), taken_back=4, promoted=2
)
HISTORY: dict[str, Any] = Ledger(Account((ENTRY,), TOTALS), lambda: None).status()
STATUS: dict[str, Any] = {
    "unaccepted": {"passed_on": 20, "reset": 1},
    "name": "lies",
    "version": "1.0",
    "state": "serving",
    "pause": None,
    "adopt": "seccomp",
    "ready": "interest",
    "generations": [
        {
            "number": 2,
            "state": "running",
            "gate": "open",
            "version": "1.4.2",
            "started_usec": 1_700_000_000_000_000,
            "connections": {"busy": 1, "fresh": 2, "quiet": 3},
            "moving": {"moved": 5, "parked": 7, "returned": 0, "to": 3, "reason": ""},
        },
        {
            "number": 3,
            "state": "pending",
            "gate": "open",
            "version": "",
            "started_usec": 1_700_000_001_000_000,
            "connections": None,
            "moving": None,
        },
    ],
    "listeners": [
        {
            "name": "web",
            "address": "[::1]:80",
            "queue_length": 5,
            "queue_limit": 128,
            "lanes": [
                {"number": 0, "generations": [2], "share": 995, "queue_length": 5},
                {"number": 1, "generations": [3], "share": 5, "queue_length": None},
            ],
        },
        {
            "name": "dns",
            "address": "udp:[::1]:53",
            "queue_length": None,
            "queue_limit": None,
            "lanes": [],
        },
    ],
    "canary": {
        "generation": 2,
        "share": 5,
        "step": 1,
        "steps": 3,
        "seconds_left": 59.5,
        "waiting_seconds": None,
    },
    "starts": {"interval_seconds": 600.0, "burst": 10, "failures": [{}, {}]},
}


class Fixed(Collector):
    def __init__(self, services: dict[str, Samples]) -> None:
        self.services = services

    def collect(self) -> Any:
        return metrics.families(self.services)


def registry(services: dict[str, Samples]) -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(Fixed(services))
    return found


def page(status: dict[str, Any] = STATUS, history: dict[str, Any] | None = HISTORY) -> str:
    services = {"web": metrics.samples(status, history), "gone": metrics.down()}
    return generate_latest(registry(services)).decode()


def test_the_values() -> None:
    text = page()
    for line in (
        'sockact_up{service="web"} 1.0',
        'sockact_up{service="gone"} 0.0',
        'sockact_service_info{adopt="seccomp",ready="interest",service="web",version="1.0"} 1.0',
        'sockact_service_state{service="web",state="serving"} 1.0',
        'sockact_service_state{service="web",state="backoff"} 0.0',
        'sockact_connections{generation="2",service="web",state="fresh"} 2.0',
        'sockact_accept_queue_length{address="[::1]:80",listener="web",service="web"} 5.0',
        'sockact_handovers_total{kind="reload",outcome="committed",service="web"} 1.0',
        'sockact_handovers_total{kind="rollback",outcome="failed",service="web"} 0.0',
        'sockact_rollbacks_total{cause="trial",service="web"} 4.0',
        'sockact_last_handover_info{kind="reload",outcome="committed",reason="",service="web"} 1.0',
        'sockact_drain_duration_seconds_bucket{le="1.0",service="web"} 0.0',
        'sockact_drain_duration_seconds_bucket{le="2.5",service="web"} 1.0',
        'sockact_drain_duration_seconds_bucket{le="+Inf",service="web"} 1.0',
        'sockact_drain_duration_seconds_sum{service="web"} 1.2',
        'sockact_start_limit_failures{service="web"} 2.0',
        (
            'sockact_lane_info{address="[::1]:80",generation="3",lane="1",'
            'listener="web",service="web"} 1.0'
        ),
        'sockact_lane_share_ratio{address="[::1]:80",lane="0",listener="web",service="web"} 0.995',
        'sockact_lane_queue_length{address="[::1]:80",lane="0",listener="web",service="web"} 5.0',
        'sockact_canary_share_ratio{generation="2",service="web",version="1.4.2"} 0.005',
        'sockact_unaccepted_total{outcome="passed_on",service="web"} 20.0',
        'sockact_unaccepted_total{outcome="reset",service="web"} 1.0',
        'sockact_canary_step{service="web"} 1.0',
        'sockact_canary_steps{service="web"} 3.0',
        'sockact_canary_step_remaining_seconds{service="web"} 59.5',
        'sockact_canaries_total{outcome="promoted",service="web"} 2.0',
        'sockact_canaries_total{outcome="refused",service="web"} 0.0',
    ):
        assert line in text.splitlines(), line
    assert 'generation="3",service="web",state="busy"' not in text
    assert "sockact_canary_waiting_seconds{" not in text
    assert "dns" not in text
    assert "lies" not in text, "a service cannot speak for another"


def test_a_canary_that_is_held() -> None:
    status = copy.deepcopy(STATUS)
    status["canary"] |= {"seconds_left": None, "waiting_seconds": 7.0}
    text = page(status)
    assert 'sockact_canary_waiting_seconds{service="web"} 7.0' in text.splitlines()
    assert "sockact_canary_step_remaining_seconds{" not in text
    text = page(status | {"canary": None})
    assert "sockact_canary_share_ratio{" not in text


def test_every_family_is_there() -> None:
    names = set(re.findall(r"^# TYPE (\S+)", page(), re.MULTILINE))
    assert names == {family.name for family in FAMILIES}
    for family in FAMILIES:
        assert (family.kind == COUNTER) == family.name.endswith("_total")


def test_exemplars_name_the_handover() -> None:
    services = {"web": metrics.samples(STATUS, HISTORY)}
    text = openmetrics.generate_latest(registry(services)).decode()  # type: ignore[no-untyped-call, unused-ignore]
    found = {
        sample.name: (sample.exemplar.labels, sample.exemplar.value, sample.labels["le"])
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call, unused-ignore]
        for sample in family.samples
        if sample.exemplar
    }
    assert found == {
        "sockact_handover_duration_seconds_bucket": ({"handover": ID}, 0.3, "0.5"),
        "sockact_drain_duration_seconds_bucket": ({"handover": ID}, 1.2, "2.5"),
    }


def test_an_older_supervisor_has_no_history() -> None:
    text = page(history=None)
    assert 'sockact_up{service="web"} 1.0' in text
    assert "sockact_failures_total{" not in text


WRONG: list[tuple[str, list[Any]]] = [
    ("counts", []),
    ("counts", [1]),
    ("counts", [1] * (len(BOUNDS) + 2)),
    ("bounds", [1e9, *BOUNDS[1:]]),
    ("bounds", [BOUNDS[1], *BOUNDS[1:]]),
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_histogram_that_does_not_fit_is_refused(change: tuple[str, list[Any]]) -> None:
    history = copy.deepcopy(HISTORY)
    history["totals"]["drains"] |= dict([change])
    with pytest.raises(ValueError, match="histogram"):
        metrics.samples(STATUS, history)


def test_odd_labels_spoil_nothing() -> None:
    status = copy.deepcopy(STATUS)
    status["version"] = "\ud800\n\"'} 7 " + "x" * 5000
    status["generations"] *= 200
    text = page(status)
    assert len(text) < 20_000
    assert len([line for line in text.splitlines() if "service_info{" in line]) == 1


def test_the_documents_list_them() -> None:
    rows = markdown.table((ROOT / "docs" / "metrics.md").read_text(), "metric")
    expected = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for one in FAMILIES
    ]
    assert [tuple(row[:4]) for row in rows] == expected


def series() -> set[str]:
    """All names that a query may have."""
    found = set()
    for family in FAMILIES:
        ends = ("_bucket", "_count", "_sum") if family.kind == HISTOGRAM else ("",)
        found |= {family.name + end for end in ends}
    return found


def queries() -> dict[str, list[str]]:
    """The expressions of each file, and the labels that they are about."""
    board = json.loads((ROOT / "packaging" / "grafana" / "sockact.json").read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    rules = (ROOT / "packaging" / "prometheus" / "sockact.rules.yml").read_text()
    return {"dashboard": shown, "variables": asked, "rules": [rules]}


@pytest.mark.parametrize("name", ["dashboard", "variables", "rules"])
def test_only_metrics_that_exist_are_asked_for(name: str) -> None:
    texts = queries()[name]
    named = set(re.findall(r"\bsockact_\w+", " ".join(texts)))
    assert named
    assert named <= series()
    assert all("sockact_" in text for text in texts)


def test_the_dashboard_shows_every_metric() -> None:
    named = set(re.findall(r"\bsockact_\w+", " ".join(queries()["dashboard"])))
    shown = {re.sub("_(bucket|count|sum)$", "", name) for name in named}
    assert shown == {family.name for family in FAMILIES}
