"""Ask a Prometheus server once: exit status 0 if the result of a query compares as wanted.

    promql.py WORSE SECONDS URL COMPARISON LIMIT QUERY

Otherwise the exit status is WORSE, or 75 if there is no answer within SECONDS, or no single number
in it; the last line of the output says why. Runs as a program of its own (python -I -S), like a
probe.
"""

from __future__ import annotations

import http.client
import json
import operator
import signal
import sys
from urllib.parse import quote, urlsplit

_CANNOT_SAY = 75
_LONGEST_BODY = 1 << 20
_COMPARISONS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge}
_KINDS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class _CannotSay(Exception):
    """The server does not tell."""


def value(url: str, query: str, seconds: float) -> float:
    """The result of the query. Raises _CannotSay, OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    connection = _KINDS[parts.scheme](parts.hostname or "", parts.port, timeout=seconds)
    connection.request("GET", f"{parts.path}/api/v1/query?query={quote(query, safe='')}")
    response = connection.getresponse()
    body = response.read(_LONGEST_BODY)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error") if isinstance(answer, dict) else None
        raise _CannotSay(f"got status {response.status}{f': {said}' if said else ''}")
    return _number(answer["data"]["resultType"], answer["data"]["result"])


def _number(kind: str, result: list[object]) -> float:
    """The number in a result. Raises _CannotSay, and others for what is no result."""
    if kind == "vector":
        if len(result) != 1:
            some = f"{len(result)} results; aggregate them to one" if result else "no result"
            raise _CannotSay(f"the query has {some}")
        found = result[0]["value"]  # type: ignore[index]
    elif kind == "scalar":
        found = result
    else:
        raise _CannotSay(f"the result is a {kind}, not a number")
    number = float(found[1])
    if number != number:
        raise _CannotSay("the result is not a number (NaN)")
    return number


def _too_late(_number: int, _frame: object) -> None:
    raise TimeoutError


def main(worse: str, seconds: str, url: str, comparison: str, limit: str, query: str) -> int:
    """Return the exit status, and print the reason."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    try:
        found = value(url, query, float(seconds))
    except _CannotSay as error:
        return _say(str(error), _CANNOT_SAY)
    except TimeoutError:
        return _say(f"no answer within {float(seconds):g} s", _CANNOT_SAY)
    except OSError as error:
        return _say(f"no answer ({error.strerror or error})", _CANNOT_SAY)
    except (http.client.HTTPException, ArithmeticError, LookupError, TypeError, ValueError):
        return _say("the answer is not that of a Prometheus server", _CANNOT_SAY)
    good = _COMPARISONS[comparison](found, float(limit))
    said = "" if good else "not "
    return _say(f"{found:.6g} is {said}{comparison} {limit}: {query}", 0 if good else int(worse))


def _say(text: str, status: int) -> int:
    # In one line, whatever the server has sent.
    sys.stdout.write(" ".join(text.split()))
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
