"""How long to wait before a crashed program is launched again."""

from __future__ import annotations

_GOLDEN = 0.6180339887498949


def backoff(crashes: int, first: float, limit: float) -> float:
    """Seconds to wait before the launch after the `crashes`th crash in a row.

    The first crash costs nothing: the accept queue is filling. After that the wait doubles
    from `first` up to `limit`, so that systemd's StartLimitBurst= never sees a crash loop.
    """
    if crashes <= 1:
        return 0.0
    # The exponent is bounded: 2.0 ** 1100 would overflow after a long night of crashes.
    return min(limit, first * 2.0 ** min(crashes - 2, 64))


def spread(wait: float, jitter: float, seed: float, number: int) -> float:
    """The wait, by up to its `jitter`th part longer or shorter.

    `seed` differs from service to service, `number` from launch to launch: what died together is
    not launched together again and again. The golden ratio spreads the numbers evenly.
    """
    return wait * (1.0 + jitter * (2.0 * ((seed + number * _GOLDEN) % 1.0) - 1.0))
