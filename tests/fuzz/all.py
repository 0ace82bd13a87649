"""All fuzzers."""

from __future__ import annotations

from tests.fuzz import carried_state, configuration, control, log_channel, program_side, state_files

FUZZERS = (
    *(control.FUZZER, program_side.SHIM, program_side.NOTIFY, program_side.CALLS),
    *(log_channel.FUZZER, carried_state.FUZZER, state_files.FUZZER),
    configuration.FUZZER,
)
BY_NAME = {fuzzer.name: fuzzer for fuzzer in FUZZERS}
