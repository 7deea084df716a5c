"""ImmutableCheck: a check of a release that several services can use. Services have checks inline,
too.

The lists of a spec have no defaults in the schema: a field without a value is None here, and the
operator takes the default that its description names.
"""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from immutable_operator.api import names
from immutable_operator.api.cel import Rule
from immutable_operator.api.duration import Duration
from immutable_operator.api.image import MAX_IMAGE, pin_rule
from immutable_operator.api.kind import ApiModel, Column, Kind, Version

__all__ = [
    *("NO_EXPECTATION", "NO_THRESHOLD", "OF_THE_CHECK", "ONE_KIND", "PATH_AND_PORT"),
    "URL_OR_PATH",
    "CHECK",
    "Check",
    "HttpCheck",
    "ImmutableCheckSpec",
    "JobCheck",
    "KeyOfSecret",
    "PrometheusCheck",
]

ObjectName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$", min_length=1, max_length=253)
]
CheckName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$", max_length=40)]
Url = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+(/[^#\s]*)?$", max_length=1024)]
Address = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$", max_length=512)]
Threshold = Annotated[
    str, Field(pattern=r"^(<|<=|>|>=|==|!=) ?-?[0-9]{1,15}(\.[0-9]{1,9})?$", max_length=32)
]
Limit = Annotated[int, Field(strict=True, ge=0, le=1000)]
Count = Annotated[int, Field(strict=True, ge=1, le=1000)]

NO_EXPECTATION: Final = (
    "without status and body every response passes, so the check cannot fail; set status, body or"
    " both"
)
NO_THRESHOLD: Final = (
    "without success and failure every result passes, so the check cannot fail; set one of them or"
    " both"
)
URL_OR_PATH: Final = (
    "a check requests either a URL or a path of an instance; set exactly one of url and path"
)
PATH_AND_PORT: Final = (
    "path and port must be set together to request from an instance; set both, or set url instead"
)
OF_THE_CHECK: Final = (
    "inconclusive and inconclusiveLimit belong to the check itself; set them in the ImmutableCheck"
    " to which ref refers"
)
_KINDS: Final = ("http", "prometheus", "job")
ONE_KIND: Final = f"a check has exactly one kind; set one of {', '.join(_KINDS)}"
_CHOSEN: Final = f"[{', '.join(f'has(self.{kind})' for kind in _KINDS)}].filter(x, x).size()"


class KeyOfSecret(ApiModel):
    """A key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""

    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
    """Key whose value is used."""


class HttpExpectation(ApiModel):
    """What the response must be."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.status) || has(self.body)",
            NO_EXPECTATION,
        ),
    )

    status: Annotated[int, Field(strict=True, ge=100, le=599)] | None = None
    """Status code of the response. Redirects are not followed: their status code counts. If unset,
    every status code is accepted."""

    body: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Text that the first 64 KiB of the body must contain. If unset, the body is not compared."""


class HttpCheck(ApiModel):
    """A GET request that must be answered as expected."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.url) != has(self.path)",
            URL_OR_PATH,
        ),
        Rule(
            "has(self.path) == has(self.port)",
            PATH_AND_PORT,
        ),
    )

    url: Url | None = None
    """URL to request, such as http://web.shop.svc/healthz, without user name and password."""

    path: Annotated[str, Field(pattern=r"^/[^#\s]*$", max_length=512)] | None = None
    """Path to request from an instance of the new revision, such as /healthz. Each measurement asks
    the next instance. Requires port."""

    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    """Port of the instance for path."""

    expect: HttpExpectation
    """What the response must be."""

    within: Duration | None = None
    """Time, from the first request, within which a response must be as expected. Until then the
    request is repeated. A whole number with the unit s, m, h or d. Default 30s.
    """

    interval: Duration | None = None
    """Interval between two requests. Default 5s."""

    authorization: KeyOfSecret | None = None
    """Key of a Secret whose value is sent in the header Authorization. The operator must be granted
    access to the Secrets of this namespace (checks.secrets.namespaces of the chart). If unset, the
    header is not sent."""


class PrometheusCheck(ApiModel):
    """A query of Prometheus whose result must stay within a limit."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.success) || has(self.failure)",
            NO_THRESHOLD,
        ),
    )

    address: Address
    """URL of Prometheus, or of a server with the same API, such as
    http://prometheus.monitoring.svc:9090."""

    query: Annotated[str, Field(min_length=1, max_length=2048)]
    """Query in PromQL that returns a scalar or an instant vector. $(service), $(namespace) and
    $(revision) are replaced by the name of the service, its namespace and the short hash of the new
    revision, which is part of the names of its pods."""

    success: Threshold | None = None
    """Comparison that every value of the result must satisfy, such as "< 0.05". If unset, a value
    that does not satisfy failure is a success."""

    failure: Threshold | None = None
    """Comparison that no value of the result may satisfy, such as ">= 0.1". If unset, a value that
    does not satisfy success is a failure. If both are set, a value that satisfies neither has no
    result, as an empty result and NaN."""

    interval: Duration | None = None
    """Interval between two measurements, and before the first one: a whole number with the unit s,
    m, h or d. Default 30s."""

    count: Count | None = None
    """Number of measurements that must pass, 1 to 1000. Default 1."""

    failure_limit: Limit | None = None
    """Number of measurements that may fail. Default 0."""

    authorization: KeyOfSecret | None = None
    """Key of a Secret whose value is sent in the header Authorization. The operator must be granted
    access to the Secrets of this namespace (checks.secrets.namespaces of the chart). If unset, the
    header is not sent."""


def _keeps_all(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Let a schema keep the fields that it does not name: the API server checks them in the Job."""
    schema["x-kubernetes-preserve-unknown-fields"] = True
    schema.pop("additionalProperties", None)
    if rules := [rule.schema() for rule in getattr(model, "rules", ())]:
        schema["x-kubernetes-validations"] = rules


class Kept(ApiModel):
    """A part of a pod template: fields that are not named here are kept as they are."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_keeps_all)


class JobContainer(Kept):
    """A container of the Job."""

    rules: ClassVar[tuple[Rule, ...]] = (pin_rule("container", "image"),)

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """Name of the container."""

    image: Annotated[str, Field(max_length=MAX_IMAGE)]
    """Image, pinned by digest: registry/name@sha256:<64 lower-case hex digits>."""


class JobPod(Kept):
    """Specification of the pod of the Job."""

    containers: Annotated[list[JobContainer], Field(min_length=1, max_length=8)]
    """Containers of the pod, as in a Job."""

    init_containers: Annotated[list[JobContainer], Field(max_length=8)] | None = None
    """Init containers of the pod, as in a Job."""


class JobTemplate(Kept):
    """The pod template of the Job."""

    spec: JobPod
    """Specification of the pod. restartPolicy is always Never."""


class JobCheck(ApiModel):
    """A Job that must complete."""

    template: JobTemplate
    """The pod template of the Job. Its containers have the variables IMMUTABLE_SERVICE and
    IMMUTABLE_REVISION: the name of the service and the short hash of the new revision."""

    within: Duration | None = None
    """Time in which the Job must complete or fail. After that, the Job is stopped, and the
    measurement is inconclusive. A whole number with the unit s, m, h or d. Default 10m."""


class ImmutableCheckSpec(ApiModel):
    """What is measured, and when the check has passed or failed."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(f"{_CHOSEN} == 1", ONE_KIND),)

    http: HttpCheck | None = None
    """A GET request that must be answered as expected."""

    prometheus: PrometheusCheck | None = None
    """A query of Prometheus whose result must stay within a limit."""

    job: JobCheck | None = None
    """A Job that must complete. The operator must be permitted to create Jobs in this namespace
    (checks.jobs.namespaces of the chart)."""

    inconclusive: Literal["Fail", "Wait"] | None = None
    """What happens after inconclusiveLimit measurements in a row without a result, because there
    was no response, for example. Fail: the revision failed. Wait: the rollout waits until a
    measurement has a result, and the status says for which check. Default Fail."""

    inconclusive_limit: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """Number of measurements in a row without a result after which inconclusive applies. They are
    repeated with increasing pauses, from 5 seconds to 5 minutes. Default 5."""


class CheckReference(ApiModel):
    """An ImmutableCheck in the same namespace."""

    name: ObjectName
    """Name of the ImmutableCheck."""


class Check(ApiModel):
    """A check that a new revision must pass."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"has(self.ref) ? {_CHOSEN} == 0 : {_CHOSEN} == 1",
            f"{ONE_KIND} and ref",
        ),
        Rule(
            "!has(self.ref) || !(has(self.inconclusive) || has(self.inconclusiveLimit))",
            OF_THE_CHECK,
        ),
    )

    name: CheckName
    """Name of the check, unique in the service; it is shown in the status and in events."""

    ref: CheckReference | None = None
    """The ImmutableCheck that defines what is measured."""

    http: HttpCheck | None = None
    """A GET request that must be answered as expected."""

    prometheus: PrometheusCheck | None = None
    """A query of Prometheus whose result must stay within a limit."""

    job: JobCheck | None = None
    """A Job that must complete. The operator must be permitted to create Jobs in this namespace
    (checks.jobs.namespaces of the chart)."""

    inconclusive: Literal["Fail", "Wait"] | None = None
    """What happens after inconclusiveLimit measurements in a row without a result: see
    ImmutableCheck. Default Fail."""

    inconclusive_limit: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    """Number of measurements in a row without a result after which inconclusive applies. Default
    5."""


CHECK: Final = Kind(
    name=names.CHECK_KIND,
    plural=names.CHECK_PLURAL,
    short="imchk",
    description="ImmutableCheck is a check of a new revision that several services can use, by "
    "rollout.checks[].ref: what is measured, and when the check has passed or failed.",
    versions=(
        Version(
            spec=ImmutableCheckSpec,
            columns=(
                Column("Url", "string", ".spec.http.url", "URL that is requested"),
                Column(
                    *("Query", "string", ".spec.prometheus.query", "Query of Prometheus"), wide=True
                ),
                Column("Age", "date", ".metadata.creationTimestamp", "Age of the check"),
            ),
        ),
    ),
)
