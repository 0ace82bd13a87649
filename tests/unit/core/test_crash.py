"""The waits between crashes."""

from __future__ import annotations

from sockact.core.lifecycle.crash import backoff, spread


def test_backoff_grows_from_nothing_to_its_limit() -> None:
    waits = [backoff(n, 0.1, 30.0) for n in range(1, 12)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    assert backoff(10_000, 0.1, 30.0) == 30.0


def test_waits_are_spread() -> None:
    waits = [spread(10.0, 0.25, seed=0.3, number=n) for n in range(100)]
    assert min(waits) < 7.6
    assert max(waits) > 12.4
    assert all(7.5 <= wait <= 12.5 for wait in waits)
    assert abs(sum(waits) / len(waits) - 10.0) < 0.1
    assert spread(10.0, 0.0, 0.3, 7) == 10.0
    assert spread(10.0, 0.25, 0.3, 7) != spread(10.0, 0.25, 0.4, 7)
