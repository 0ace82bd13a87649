"""The metrics of the exporter, in the order in which it serves them; docs/metrics.md lists them."""

from __future__ import annotations

from dataclasses import dataclass

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


@dataclass(frozen=True)
class Family:
    """A metric. Each one has the label `service`, too."""

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


FAMILIES = (
    Family("sockact_up", GAUGE, "Whether the supervisor answered (1) or not (0)."),
    Family(
        *("sockact_service_info", GAUGE, "How the service is run, as labels; always 1."),
        ("version", "adopt", "ready"),
    ),
    Family(
        *("sockact_service_state", GAUGE, "Whether the service is in this state (1) or not (0)."),
        ("state",),
    ),
    Family(
        *("sockact_paused", GAUGE, "Whether the operator has paused the service (1) or not (0)."),
    ),
    Family(
        *(
            "sockact_generation_info",
            GAUGE,
            "A generation that exists, described by labels; always 1.",
        ),
        ("generation", "state", "gate", "version"),
    ),
    Family(
        *(
            "sockact_generation_start_time_seconds",
            GAUGE,
            "Start time of the generation, in seconds since 1970.",
        ),
        ("generation",),
    ),
    Family(
        *("sockact_connections", GAUGE, "Open connections: busy, fresh (new) or quiet (idle)."),
        ("generation", "state"),
    ),
    Family(
        *("sockact_connections_parked", GAUGE, "Open connections that move with the next request."),
        ("generation",),
    ),
    Family(
        *("sockact_accept_queue_length", GAUGE, "Connections waiting to be accepted."),
        ("listener", "address"),
    ),
    Family(
        *("sockact_accept_queue_limit", GAUGE, "Maximum length of the accept queue."),
        ("listener", "address"),
    ),
    Family(
        *("sockact_lane_info", GAUGE, "A generation that has the lane; always 1."),
        ("listener", "address", "lane", "generation"),
    ),
    Family(
        *(
            "sockact_lane_share_ratio",
            GAUGE,
            "Share of the new clients that the lane gets, 0 to 1.",
        ),
        ("listener", "address", "lane"),
    ),
    Family(
        *("sockact_lane_queue_length", GAUGE, "Connections waiting to be accepted in the lane."),
        ("listener", "address", "lane"),
    ),
    Family(
        "sockact_unaccepted_total",
        COUNTER,
        "Connections that their generation had not accepted at its end.",
        ("outcome",),
    ),
    Family(
        *(
            "sockact_canary_share_ratio",
            GAUGE,
            "Share of the new clients that the canary gets, 0 to 1; absent without a canary.",
        ),
        ("generation", "version"),
    ),
    Family("sockact_canary_step", GAUGE, "Step of the canary, from 1; absent without a canary."),
    Family("sockact_canary_steps", GAUGE, "Number of steps of the canary."),
    Family(
        "sockact_canary_step_remaining_seconds",
        GAUGE,
        "Time until the step of the canary is over; absent while its share is held.",
    ),
    Family(
        "sockact_canary_waiting_seconds",
        GAUGE,
        "Time since the step was over, or since a held share was set; absent otherwise.",
    ),
    Family(
        "sockact_canaries_total",
        COUNTER,
        "Canaries that got all clients (promoted), or failed (refused).",
        ("outcome",),
    ),
    Family(
        *("sockact_handovers_total", COUNTER, "Finished handovers."),
        ("kind", "outcome"),
    ),
    Family(
        *("sockact_last_handover_info", GAUGE, "Always 1: how the last handover ended, and why."),
        ("kind", "outcome", "reason"),
    ),
    Family(
        *(
            "sockact_handover_duration_seconds",
            HISTOGRAM,
            "Time from the request of a handover to its outcome.",
        ),
        ("kind", "outcome"),
    ),
    Family(
        "sockact_drain_duration_seconds",
        HISTOGRAM,
        "Time from the switch to the end of the previous generation, except while it was kept.",
    ),
    Family(
        "sockact_rollbacks_total",
        COUNTER,
        "Releases rolled back, by command or because their trial failed.",
        ("cause",),
    ),
    Family(
        "sockact_forced_closes_total",
        COUNTER,
        "Connections in use when their generation was stopped.",
    ),
    Family(
        "sockact_connections_moved_total",
        COUNTER,
        "Open connections that another generation has got.",
    ),
    Family(
        "sockact_connections_returned_total",
        COUNTER,
        "Attempts to move a connection that were not accepted in time.",
    ),
    Family("sockact_failures_total", COUNTER, "Generations that failed."),
    Family(
        "sockact_restarts_total", COUNTER, "Starts of a generation to replace one that crashed."
    ),
    Family("sockact_hook_failures_total", COUNTER, "Hooks that failed.", ("event",)),
    Family("sockact_supervisor_starts_total", COUNTER, "Starts of the supervisor."),
    Family(
        "sockact_start_limit_failures",
        GAUGE,
        "Failures that currently count toward the start limit.",
    ),
    Family(
        "sockact_start_limit_burst",
        GAUGE,
        "Number of failures after which a reload needs --force; 0: no limit.",
    ),
    Family("sockact_start_limit_interval_seconds", GAUGE, "Time for which a failure counts."),
)
