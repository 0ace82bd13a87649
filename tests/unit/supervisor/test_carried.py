"""The state that a supervisor hands over: written, read, and refused if it does not fit."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core.canary.progress import Canary, Plan, Progress
from sockact.core.canary.schedule import Schedule, Step
from sockact.core.canary.verdict import Judgement, Unsure, Verdict
from sockact.core.history.failures import Failure
from sockact.core.json_data import Reader, plain
from sockact.core.lifecycle.machine import in_progress
from sockact.core.lifecycle.model import (
    Exit,
    Gate,
    Generation,
    Handover,
    Outcome,
    Phase,
    Policy,
    Service,
    State,
)
from sockact.core.record import replace
from sockact.core.settings import Adopt, Settings
from sockact.handover.gate import Entry
from sockact.supervisor.records import carried_state

SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(0, 2**64),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    # With the lone surrogates of file names that are not UTF-8.
    "str": st.text(st.characters(), max_size=20),
}
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(one for one in vars(carried_state).values() if isinstance(one, type)),
        *(Adopt, Entry, Exit, Failure, Gate, Generation, Handover, Outcome, Phase, State),
        *(Canary, Judgement, Plan, Progress, Schedule, Step, Unsure, Verdict),
    )
}


def some(annotation: str) -> st.SearchStrategy[Any]:
    """Values for a field, whatever it is."""
    if annotation.endswith(" | None"):
        return st.none() | some(annotation.removesuffix(" | None"))
    if annotation.startswith("tuple["):
        inner = some(annotation.removeprefix("tuple[").removesuffix(", ...]"))
        return st.lists(inner, max_size=2).map(tuple)
    if annotation in SIMPLE:
        return SIMPLE[annotation]
    kind = KINDS[annotation]
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    fields = {name: some(hint) for name, hint in kind.__annotations__.items()}
    return st.builds(kind, **fields)


@given(some("CarriedSupervisor"))
def test_it_is_read_as_it_was_written(found: carried_state.CarriedSupervisor) -> None:
    assert carried_state.read(carried_state.write(found)) == found


@given(some("CarriedService"))
def test_a_service_comes_back_with_another_policy(found: carried_state.CarriedService) -> None:
    service = carried_state.service_from(found, Policy(kill_timeout=7.0))
    assert service.policy.kill_timeout == 7.0
    assert carried_state.service_of(service) == found


def test_nothing_of_a_service_is_forgotten() -> None:
    assert {*carried_state.CarriedService.__annotations__} | {"policy"} == {
        *Service.__annotations__
    }


def test_what_the_first_version_wrote_is_still_read() -> None:
    """Never change this file: a version that runs somewhere leaves such a state."""
    found = carried_state.read((Path(__file__).parent / "state-1.json").read_bytes())
    assert found.version == "0.1.0"
    (generation, successor) = found.engine.service.generations
    assert (generation.state, generation.gate) == (State.DRAINING, Gate.CLOSED)
    assert successor.state is State.RUNNING
    assert found.engine.generations[0].removed == (Entry(4711, 6, 5, 25, 5, 99),)
    Settings.from_older(found.settings)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(ANYTHING)
def test_anything_else_is_refused_in_words(found: object) -> None:
    for data in (found, {"format": carried_state.FORMAT, "state": found}):
        with pytest.raises(ValueError, match=r"\w"):
            carried_state.read(json.dumps(data).encode())


def test_what_is_nested_too_deeply_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        carried_state.read(b"[" * 100_000)


GENERATION: Any = plain(Generation(1, State.RUNNING, 5.0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "sleeping"}, "Generation.state: unknown value 'sleeping'"),
        ({"state": ["running"]}, r"Generation.state: unknown value \['running'\]"),
        ({"number": "1"}, "Generation.number: must be of type int"),
        ({"number": True}, "Generation.number: must be of type int"),
        ({"number": 1.0}, "Generation.number: must be of type int"),
        ({"killed": 0}, "Generation.killed: must be of type bool"),
        ({"exit": []}, "Generation.exit: must be an object"),
        ({"exit": {"code": 0, "reason": ""}}, "Generation.exit: unknown member reason"),
        ({"mood": "good"}, "Generation: unknown member mood"),
    ],
)
def test_what_does_not_fit(change: dict[str, Any], reason: str) -> None:
    reader = Reader(Exit, Gate, Generation, State)
    with pytest.raises(ValueError, match=reason):
        reader.read(Generation, {**GENERATION, **change})


def test_unknown_fields_of_an_older_version_get_their_defaults() -> None:
    reader = Reader(Exit, Gate, Generation, State)
    assert reader.read(Generation, {"number": 1, "state": "running", "since": 5}) == Generation(
        1, State.RUNNING, 5.0
    )
    with pytest.raises(ValueError, match="Generation: a member is missing"):
        reader.read(Generation, {"number": 1})


def test_settings_of_an_older_version() -> None:
    settings = Settings("a", ("b",), listen=("1",), adopt=Adopt.SHIM, trial=3.0)
    older = json.loads(settings.to_json())
    del older["watchdog_probe"], older["probe_status"]
    assert Settings.from_older(json.dumps(older)) == settings
    with pytest.raises(ValueError, match="unknown setting 'new'"):
        Settings.from_older(json.dumps({**older, "new": 1}))
    with pytest.raises(TypeError):
        Settings.from_older("[]")


def test_values_without_a_plain_form() -> None:
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        plain((object(),))


def service(phase: Phase, *generations: Generation) -> Service:
    return Service(Policy(), phase, generations)


RUNNING = Generation(1, State.RUNNING, 0.0)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (service(Phase.STARTING), "the service is starting"),
        (service(Phase.STOPPING), "the service is stopping"),
        (service(Phase.STOPPED), "the service is stopping"),
        (service(Phase.BACKOFF, Generation(2, State.PENDING, 0.0)), "generation 2 is starting"),
        (
            service(Phase.SERVING, replace(RUNNING, gate=Gate.OPENING)),
            "1 is about to resume accepting connections",
        ),
        (
            service(Phase.SERVING, replace(RUNNING, gate=Gate.CLOSING)),
            "1 is about to stop accepting connections",
        ),
        (
            replace(service(Phase.RELOADING, RUNNING), handover=Handover(1, 0.0, 1, 2)),
            "a reload is in progress",
        ),
        (
            replace(
                service(Phase.RELOADING, RUNNING), handover=Handover(1, 0.0, 1, 2, rollback=True)
            ),
            "a rollback is in progress",
        ),
        (service(Phase.SERVING, RUNNING), ""),
        (service(Phase.BACKOFF), ""),
        (
            service(
                Phase.SERVING,
                replace(RUNNING, state=State.DRAINING, gate=Gate.CLOSED),
                replace(RUNNING, number=2, state=State.PAUSED, gate=Gate.CLOSED, keep_until=9.0),
                replace(RUNNING, number=3, state=State.FAILED, ending=True),
                replace(RUNNING, number=4),
            ),
            "",
        ),
    ],
)
def test_work_that_delays_an_upgrade(state: Service, reason: str) -> None:
    assert in_progress(state).endswith(reason) if reason else in_progress(state) == ""
