"""Checks of the kind prometheus: whether the result of a query stays within a limit."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

import msgspec

from immutable_operator.checks.addresses import Judge
from immutable_operator.checks.asking import MOST_BYTES, Found, NoAnswer, Reply, fetch, shown
from immutable_operator.domain.model import Finding, PrometheusQuestion, Threshold

__all__ = ["NOT_PROMETHEUS", "judged", "measure_prometheus"]

NOT_PROMETHEUS = "the response is not one of the Prometheus API; correct the URL of the check"

SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
MOST_SHOWN = 3
WORD = re.compile("[a-z_]{1,32}")
Sample = tuple[float, str]


class _Series(msgspec.Struct):
    value: Sample


class _Data(msgspec.Struct, rename="camel"):
    result_type: str
    result: msgspec.Raw


class _Response(msgspec.Struct, rename="camel"):
    status: str
    data: _Data | None = None
    error_type: str = ""


async def measure_prometheus(
    question: PrometheusQuestion, names: Mapping[str, str], judge: Judge, headers: Mapping[str, str]
) -> Found:
    """Send the query and judge its result. Raises `NoAnswer`.

    ``names`` are what is replaced in the query. Only numbers are evidence: labels, and the text of
    an error, can contain what users must not see.
    """
    query = question.query
    for name, value in names.items():
        query = query.replace(f"$({name})", value)
    url = f"{question.address.rstrip('/')}/api/v1/query"
    reply = await fetch(f"{url}?{urlencode({'query': query})}", judge, headers, reads=True)
    try:
        values = _values(reply)
    except NoAnswer as error:
        raise NoAnswer(f"{shown(url)}: {error}") from None
    return judged(question, values)


def _values(reply: Reply) -> list[float]:
    """Return the values of a result. Raises `NoAnswer`."""
    if not reply.is_whole:
        raise NoAnswer(f"the response is longer than {MOST_BYTES // 1024} KiB; aggregate the query")
    try:
        response = msgspec.json.decode(reply.body, type=_Response)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise NoAnswer(f"status {reply.status}, {NOT_PROMETHEUS}") from None
    if response.status != "success" or response.data is None:
        kind = response.error_type if WORD.fullmatch(response.error_type) else "unknown"
        raise NoAnswer(f"status {reply.status}, the query failed: {kind}")
    data = response.data
    try:
        if data.result_type == "scalar":
            return [float(msgspec.json.decode(data.result, type=Sample)[1])]
        if data.result_type == "vector":
            series = msgspec.json.decode(data.result, type=list[_Series])
            return [float(one.value[1]) for one in series]
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise NoAnswer("the values of the result are not numbers") from None
    raise NoAnswer("the query must return a scalar or an instant vector")


def judged(question: PrometheusQuestion, values: Sequence[float]) -> Found:
    """Compare the values of a result. One that is a failure decides."""
    if not values:
        return Found(Finding.INCONCLUSIVE, "the result is empty")
    for value in values:
        if not math.isnan(value) and (why := _failure(question, value)):
            return Found(Finding.FAILED, f"the result {value:g} {why}")
    said = ", ".join(f"{value:g}" for value in values[:MOST_SHOWN])
    said += f" and {len(values) - MOST_SHOWN} more" if len(values) > MOST_SHOWN else ""
    if any(math.isnan(value) for value in values):
        return Found(Finding.INCONCLUSIVE, f"the result {said} is not a number")
    if question.success and not all(_holds(question.success, value) for value in values):
        text = f"the result {said} is neither {question.success} nor {question.failure}"
        return Found(Finding.INCONCLUSIVE, text)
    return Found(Finding.PASSED, f"the result is {said}")


def _failure(question: PrometheusQuestion, value: float) -> str:
    """Return why a value is a failure, or ""."""
    if question.failure is not None:
        return f"is {question.failure}" if _holds(question.failure, value) else ""
    is_success = question.success is None or _holds(question.success, value)
    return "" if is_success else f"is not {question.success}"


def _holds(threshold: Threshold, value: float) -> bool:
    return SIGNS[threshold.sign](value, threshold.number)
