"""JSON without the module json: the same texts, the same values, the same refusals."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core import json_text
from tests import ROOT

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Also lone surrogates, which stand for bytes in file names.
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
WRONG = ("", "{", "[1,]", '{"a":}', '"\n"', '"\\q"', "no", "1 2", "NaN", "[-Infinity]", "\ufeff1")


@given(VALUES)
def test_writes_what_json_writes(value: object) -> None:
    assert json_text.encode(value) == json.dumps(value)
    assert json_text.compact(value) == json.dumps(value, separators=(",", ":"))
    assert json_text.indented(value) == json.dumps(value, indent=2)


@given(VALUES)
def test_reads_what_json_writes(value: object) -> None:
    for text in (json_text.compact(value), json.dumps(value, indent=2), f" {json.dumps(value)}\n"):
        assert json_text.decode(text) == value


@pytest.mark.parametrize("text", WRONG)
def test_refuses_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match="not valid JSON"):
        json_text.decode(text)


@pytest.mark.parametrize("text", WRONG)
def test_refuses_it_also_where_json_is_not_loaded_yet(text: str) -> None:
    """Up to Python 3.13 the scanner fails without an exception of its own."""
    code = f"""
import sys
sys.path.append({str(ROOT)!r})
from sockact.core import json_text
assert "json" not in sys.modules
try:
    json_text.decode({text!r})
except ValueError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, timeout=20)
    assert done.stdout == b"refused\n", done.stderr


def test_writes_no_numbers_that_json_does_not_have() -> None:
    for value in (float("nan"), float("inf"), [float("-inf")]):
        with pytest.raises(ValueError, match="JSON"):
            json_text.encode(value)


def test_writes_no_other_types() -> None:
    with pytest.raises(TypeError, match="a set is not JSON"):
        json_text.encode({"a": {1}})
