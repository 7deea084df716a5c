"""Checks on the wire: those of a service, and the ImmutableChecks to which they refer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import msgspec

from immutable_operator.api.check import Check as CheckOfService
from immutable_operator.api.check import (
    HttpCheck,
    ImmutableCheckSpec,
    JobCheck,
    KeyOfSecret,
    PrometheusCheck,
)
from immutable_operator.api.duration import Duration, seconds
from immutable_operator.api.names import API_VERSION, CHECK_KIND, CHECK_PLURAL
from immutable_operator.domain.model import (
    Check,
    HttpQuestion,
    JobQuestion,
    OnInconclusive,
    PrometheusQuestion,
    SecretKey,
    Threshold,
    Unanswerable,
)
from immutable_operator.kube.meta import ObjectMeta
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reading import READ_ERRORS, Identity

__all__ = ["CHECKS", "CheckObject", "Checks", "checks_of", "decode_check"]

CHECKS = ApiPath(f"apis/{API_VERSION}", CHECK_PLURAL)
# The defaults that the descriptions of the fields name.
WITHIN, INTERVAL, QUERY_INTERVAL, JOB_WITHIN = "30s", "5s", "30s", "10m"


def checks_of(given: Iterable[CheckOfService]) -> Iterator[Check]:
    """Yield the checks of a service; one that refers to an ImmutableCheck has its name only."""
    for check in given:
        if check.ref is None:
            yield _check(check.name, check)
        else:
            yield Check(check.name, Unanswerable(""), ref=check.ref.name)


def _check(name: str, spec: CheckOfService | ImmutableCheckSpec) -> Check:
    if spec.http is not None:
        check = _http(name, spec.http)
    elif spec.prometheus is not None:
        check = _prometheus(name, spec.prometheus)
    elif spec.job is not None:
        check = _job(name, spec.job)
    else:
        return Check(
            name,
            Unanswerable(
                "this version of the operator does not know its kind; upgrade the operator"
            ),
        )
    return replace(
        check,
        on_inconclusive=OnInconclusive(spec.inconclusive or OnInconclusive.FAIL),
        inconclusive_limit=spec.inconclusive_limit or check.inconclusive_limit,
    )


def _http(name: str, http: HttpCheck) -> Check:
    question = HttpQuestion(
        url=http.url or "",
        path=http.path or "",
        port=http.port or 0,
        status=http.expect.status,
        body=http.expect.body or "",
        authorization=_secret(http.authorization),
    )
    return Check(
        name, question, interval=_time(http.interval, INTERVAL), within=_time(http.within, WITHIN)
    )


def _prometheus(name: str, given: PrometheusCheck) -> Check:
    question = PrometheusQuestion(
        address=given.address,
        query=given.query,
        success=_threshold(given.success),
        failure=_threshold(given.failure),
        authorization=_secret(given.authorization),
    )
    interval = _time(given.interval, QUERY_INTERVAL)
    return Check(
        name,
        question,
        interval=interval,
        delay=interval,
        count=given.count or 1,
        failure_limit=given.failure_limit or 0,
    )


def _job(name: str, given: JobCheck) -> Check:
    template = given.template.model_dump(by_alias=True, exclude_none=True)
    within = _time(given.within, JOB_WITHIN)
    return Check(name, JobQuestion(msgspec.json.encode(template, order="deterministic"), within))


def _threshold(given: str | None) -> Threshold | None:
    if given is None:
        return None
    number = given.lstrip("<>=! ")
    return Threshold(given.removesuffix(number).strip(), float(number))


def _secret(given: KeyOfSecret | None) -> SecretKey | None:
    return None if given is None else SecretKey(given.name, given.key)


def _time(given: Duration | None, default: Duration) -> float:
    return seconds(given or default)


class CheckObject(msgspec.Struct, frozen=True):
    """An ImmutableCheck; ``content`` has its name."""

    namespace: str
    name: str
    content: Check


class _Object(msgspec.Struct, frozen=True):
    metadata: ObjectMeta
    spec: msgspec.Raw = msgspec.Raw(b"{}")


def decode_check(raw: bytes | msgspec.Raw) -> CheckObject:
    """Decode an ImmutableCheck. One that cannot be read has no result."""
    body = msgspec.json.decode(raw, type=_Object)
    meta = body.metadata
    try:
        spec = ImmutableCheckSpec.model_validate(msgspec.json.decode(body.spec))
        content = _check(meta.name, spec)
    except READ_ERRORS:
        content = Check(
            meta.name, Unanswerable(f"{CHECK_KIND} {meta.name} cannot be read; correct its spec")
        )
    return CheckObject(meta.namespace, meta.name, content)


class Checks:
    """All ImmutableChecks; ``changed`` is called with the namespace of one that changes."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._known: dict[tuple[str, str], CheckObject] = {}

    def resolved(self, namespace: str, checks: Iterable[Check]) -> tuple[Check, ...]:
        """Return the checks of a service with what they refer to."""
        return tuple(self._resolved(namespace, check) for check in checks)

    def _resolved(self, namespace: str, check: Check) -> Check:
        if not check.ref:
            return check
        found = self._known.get((namespace, check.ref))
        if found is None:
            text = f"{CHECK_KIND} {check.ref} does not exist in this namespace; create it"
            return replace(check, question=Unanswerable(text))
        return replace(found.content, name=check.name, ref=check.ref)

    def known(self, which: Identity) -> CheckObject | None:
        return self._known.get((which.namespace, which.name))

    def replace(self, items: list[CheckObject], version: int) -> None:
        before = self._known
        self._known = {(item.namespace, item.name): item for item in items}
        for namespace in {space for space, _ in (*before, *self._known)}:
            self._changed(namespace)

    def upsert(self, item: CheckObject, version: int) -> None:
        self._known[item.namespace, item.name] = item
        self._changed(item.namespace)

    def remove(self, item: CheckObject, version: int) -> None:
        self._known.pop((item.namespace, item.name), None)
        self._changed(item.namespace)

    def advance(self, version: int) -> None:
        """Do nothing: no part waits for a version of these."""
