"""Checks of the kind http: whether a response has the expected status and contains a text."""

from __future__ import annotations

from collections.abc import Mapping

from immutable_operator.checks.addresses import Judge
from immutable_operator.checks.asking import Found, fetch, shown
from immutable_operator.domain.model import Finding, HttpQuestion

__all__ = ["measure_http"]


async def measure_http(
    question: HttpQuestion, url: str, judge: Judge, headers: Mapping[str, str]
) -> Found:
    """Send the request to ``url`` and judge the response. Raises `NoAnswer`.

    No part of the response is evidence but its status: a body can contain what users must not see.
    """
    reply = await fetch(url, judge, headers, reads=bool(question.body))
    where = shown(url)
    if question.status is not None and reply.status != question.status:
        text = f"{where}: status {reply.status}, expected {question.status}"
        return Found(Finding.FAILED, text)
    if question.body and question.body.encode() not in reply.body:
        text = f"{where}: status {reply.status}, the body does not contain the expected text"
        return Found(Finding.FAILED, text)
    return Found(Finding.PASSED, f"{where}: status {reply.status}")
