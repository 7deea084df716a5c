"""Makes the measurements that plans ask for, beside the loop, and keeps the answers.

An answer stays here until it is on the record of its revision. One that is lost with the process is
measured again by the next one: the key of a measurement is the same in every process.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import structlog

from immutable_operator.checks.addresses import Judge, resolve
from immutable_operator.checks.asking import Found, NoAnswer
from immutable_operator.checks.http import measure_http
from immutable_operator.checks.job import measure_job
from immutable_operator.checks.prometheus import measure_prometheus
from immutable_operator.domain.model import (
    Backoff,
    CheckKey,
    Finding,
    HttpQuestion,
    JobQuestion,
    Measured,
    PrometheusQuestion,
    Question,
    Revision,
    RunCheck,
    SecretKey,
    Unanswerable,
)
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, ServerTrouble, TooManyRequests, Unreachable
from immutable_operator.kube.lease import NotLeader
from immutable_operator.kube.paths import PODS
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.runtime.metrics import Metrics
from immutable_operator.wire.config import SECRETS, decode_secret
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["CheckOptions", "CheckRunner"]

log = structlog.get_logger()
RETRY = Backoff(1.0, 60.0)
TROUBLE = (ServerTrouble, TooManyRequests, Unreachable)
LOOK_SECONDS = 2.0  # between two looks at a Job


@dataclass(frozen=True)
class CheckOptions:
    """``secrets`` are the namespaces whose Secrets checks may use, ``jobs`` those of their Jobs."""

    secrets: frozenset[str] = frozenset()
    jobs: frozenset[str] = frozenset()


class _PodStatus(msgspec.Struct, rename={"pod_ip": "podIP"}):
    pod_ip: str = ""


class _Pod(msgspec.Struct):
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


class _Ask(NamedTuple):
    owner: str
    namespace: str
    service: str
    run: RunCheck


class CheckRunner:
    """Only the leader runs it. ``changed`` is called with the uid of an owner with an answer."""

    def __init__(
        self,
        client: KubeClient,
        options: CheckOptions,
        changed: Callable[[str], None],
        metrics: Metrics,
    ) -> None:
        self._client, self._options, self._changed = client, options, changed
        self._metrics = metrics
        self._begun: dict[CheckKey, float] = {}
        self._answers: dict[str, dict[CheckKey, Measured]] = {}
        self._wanted: dict[str, frozenset[CheckKey]] = {}
        self._inquiry: Inquiry[_Ask] = Inquiry(
            "check cannot be measured", self._ask, lane=lambda ask: ask.owner, retry=RETRY
        )

    def want(self, owner: OwnerRecord, runs: Sequence[RunCheck]) -> None:
        """Make measurements, unless their answers are there or they are under way."""
        there = self._answers.get(owner.uid, {})
        wanted = frozenset(run.key for run in runs)
        if wanted:
            self._wanted[owner.uid] = wanted
        else:
            self._wanted.pop(owner.uid, None)
        for run in runs:
            if run.key not in there:
                self._inquiry.want(_Ask(owner.uid, owner.namespace, owner.name, run))

    def of(self, owner: str, revisions: Iterable[Revision]) -> tuple[Measured, ...]:
        """Return the answers that are not on the record of a revision; drop all others."""
        known = self._answers.get(owner)
        if not known:
            return ()
        open_ = {r.uid: {c.name: c.measured for c in r.verdict.checks} for r in revisions}
        left = {
            key: answer
            for key, answer in known.items()
            if key[0] in open_ and open_[key[0]].get(key[1], 0) <= key[3]
        }
        self._answers[owner] = left
        return tuple(left.values())

    def forget(self, owner: str) -> None:
        """Drop an owner that is gone."""
        self._answers.pop(owner, None)
        self._wanted.pop(owner, None)

    async def run(self) -> None:
        """Make measurements forever."""
        await self._inquiry.run()

    async def _ask(self, ask: _Ask) -> float | None:
        """Make a measurement, or a part of it: return after how many seconds it goes on."""
        if not self._is_wanted(ask):
            return None
        began = self._begun.setdefault(ask.run.key, time.monotonic())
        try:
            found = await self._measured(ask)
            if found is None:
                return LOOK_SECONDS
        except NotLeader:
            raise
        except NoAnswer as error:
            found = Found(Finding.INCONCLUSIVE, str(error))
        except TROUBLE:
            raise  # the API server's trouble is no result of a check: ask again
        except (ApiError, msgspec.MsgspecError, ValueError) as error:
            said = error.message if isinstance(error, ApiError) else type(error).__name__
            found = Found(Finding.INCONCLUSIVE, said)
        if not self._is_wanted(ask):
            return None
        self._begun.pop(ask.run.key, None)
        kind = _kind(ask.run.check.question)
        self._metrics.count_measurement(kind, found.finding, time.monotonic() - began)
        now = self._client.clock.time()
        answer = Measured(ask.run.key, now, found.finding, found.message)
        self._answers.setdefault(ask.owner, {}).setdefault(ask.run.key, answer)
        log.info(
            "check",
            namespace=ask.namespace,
            revision=ask.run.revision,
            check=ask.run.check.name,
            found=found.finding,
            message=found.message,
        )
        self._changed(ask.owner)
        return None

    def _is_wanted(self, ask: _Ask) -> bool:
        """Return False if another question is asked now, or the owner is gone."""
        wanted = ask.run.key in self._wanted.get(ask.owner, ())
        if not wanted:
            self._begun.pop(ask.run.key, None)
        return wanted

    async def _measured(self, ask: _Ask) -> Found | None:
        match ask.run.check.question:
            case Unanswerable() as none:
                raise NoAnswer(none.why)
            case HttpQuestion() as question:
                judge = await self._judge()
                url = question.url or await self._url(ask, question)
                headers = await self._headers(ask.namespace, question.authorization)
                return await measure_http(question, url, judge, headers)
            case PrometheusQuestion() as question:
                judge = await self._judge()
                headers = await self._headers(ask.namespace, question.authorization)
                names = {
                    "service": ask.service,
                    "namespace": ask.namespace,
                    "revision": ask.run.revision,
                }
                return await measure_prometheus(question, names, judge, headers)
            case JobQuestion() as question:
                return await self._of_job(ask, question)

    async def _of_job(self, ask: _Ask, question: JobQuestion) -> Found | None:
        if ask.namespace not in self._options.jobs:
            raise NoAnswer(
                f"the operator may not create Jobs in the namespace {ask.namespace}; add it to"
                " checks.jobs.namespaces of the chart"
            )
        return await measure_job(self._client, ask.namespace, ask.service, ask.run, question)

    async def _judge(self) -> Judge:
        """Return a judge that knows the addresses of our API server."""
        server = urlsplit(self._client.server)
        try:
            found = await resolve(server.hostname or "", server.port or 443, _Anywhere())
        except OSError as error:
            raise NoAnswer("the address of the API server cannot be resolved") from error
        return Judge([ip_address(address.partition("%")[0]) for _, address in found])

    async def _url(self, ask: _Ask, question: HttpQuestion) -> str:
        """Return the URL of a path of an instance."""
        if not ask.run.instance:
            raise NoAnswer("there is no instance of the revision to which the request can be sent")
        path = PODS.item(ask.namespace, ask.run.instance)
        pod = msgspec.json.decode(await self._client.get(path, resource=PODS.resource), type=_Pod)
        address = pod.status.pod_ip
        if not address:
            raise NoAnswer(f"instance {ask.run.instance} has no IP address yet")
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{question.port}{question.path}"

    async def _headers(self, namespace: str, secret: SecretKey | None) -> dict[str, str]:
        if secret is None:
            return {}
        if namespace not in self._options.secrets:
            raise NoAnswer(
                f"the operator may not read Secrets of the namespace {namespace} for checks; add it"
                " to checks.secrets.namespaces of the chart"
            )
        path = SECRETS.item(namespace, secret.name)
        content = decode_secret(await self._client.get(path, resource=SECRETS.resource))
        value = content.data.get(secret.key)
        if value is None:
            raise NoAnswer(f"Secret {secret.name} has no key {secret.key}")
        return {"Authorization": _header(value, secret)}


def _kind(question: Question) -> str:
    """Return the kind of a check for metrics, as users write it."""
    match question:
        case HttpQuestion():
            return "http"
        case PrometheusQuestion():
            return "prometheus"
        case JobQuestion():
            return "job"
        case _:
            return "unknown"


def _header(encoded: str, secret: SecretKey) -> str:
    """Return the value of a header from that of a Secret, which often ends with a line break."""
    value = base64.b64decode(encoded).strip()
    if not value or not all(32 <= byte < 127 for byte in value):
        text = f"the value of {secret.key} in Secret {secret.name} cannot be sent in a header"
        raise NoAnswer(text)
    return value.decode("ascii")


class _Anywhere(Judge):
    """Judges nothing: to find the addresses of our own API server, which may be any."""

    def check(self, host: str, text: str) -> None:
        return None
