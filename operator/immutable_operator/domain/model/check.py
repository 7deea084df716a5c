"""Checks of a release: what is asked, what one measurement found, and what is on record of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "Check",
    "CheckKey",
    "CheckPhase",
    "CheckRecord",
    "CheckResult",
    "Finding",
    "HttpQuestion",
    "JobQuestion",
    "Measured",
    "OnInconclusive",
    "PrometheusQuestion",
    "Question",
    "RunCheck",
    "SecretKey",
    "Threshold",
    "Unanswerable",
]


class Finding(StrEnum):
    """What one measurement found. Only an answer that is as expected passes."""

    PASSED = "Passed"
    FAILED = "Failed"
    INCONCLUSIVE = "Inconclusive"


class CheckPhase(StrEnum):
    """What became of a check so far. Waiting: its measurements are inconclusive."""

    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"
    WAITING = "Waiting"


class OnInconclusive(StrEnum):
    """What happens when too many measurements in a row were inconclusive."""

    FAIL = "Fail"
    WAIT = "Wait"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key of a Secret in the namespace of the service."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Unanswerable:
    """A check that cannot be asked; ``why`` is a sentence for people."""

    why: str


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """A GET request of ``url``, or of ``path`` on ``port`` of an instance.

    The answer must have the ``status``, if it is set, and contain ``body``.
    """

    url: str = ""
    path: str = ""
    port: int = 0
    status: int | None = None
    body: str = ""
    authorization: SecretKey | None = None


@dataclass(frozen=True, slots=True)
class Threshold:
    """A comparison with a number: ``sign`` is one of <, <=, >, >=, == and !=."""

    sign: str
    number: float

    def __str__(self) -> str:
        return f"{self.sign} {self.number:g}"


@dataclass(frozen=True, slots=True)
class PrometheusQuestion:
    """An instant query. Each value of its result is compared with ``success`` and ``failure``.

    If one of the two is None, it is the opposite of the other one.
    """

    address: str
    query: str
    success: Threshold | None = None
    failure: Threshold | None = None
    authorization: SecretKey | None = None


@dataclass(frozen=True, slots=True)
class JobQuestion:
    """A Job that must complete ``within`` seconds; ``template`` is its pod template as JSON."""

    template: bytes
    within: float = 600.0


Question = HttpQuestion | PrometheusQuestion | JobQuestion | Unanswerable


@dataclass(frozen=True, slots=True)
class Check:
    """A check that a revision must pass before its rollout is complete. Durations are in seconds.

    It passes after ``count`` measurements that passed, and fails after more than ``failure_limit``
    that failed. In the time ``within`` after the first measurement only one that passed counts.
    Between measurements there are ``interval`` seconds, and ``delay`` seconds before the first.
    After ``inconclusive_limit`` inconclusive ones in a row ``on_inconclusive`` applies. ``ref`` is
    the name of the ImmutableCheck that says what is asked, if it is one.
    """

    name: str
    question: Question
    interval: float = 5.0
    delay: float = 0.0
    within: float = 0.0
    count: int = 1
    failure_limit: int = 0
    inconclusive_limit: int = 5
    on_inconclusive: OnInconclusive = OnInconclusive.FAIL
    ref: str = ""

    @property
    def digest(self) -> str:
        """A digest of what is asked, which tells an edited check; "" if it cannot be asked now."""
        if isinstance(self.question, Unanswerable):
            return ""
        text = f"{type(self.question).__name__} {self.question!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One measurement that is on record."""

    at: float
    found: Finding
    message: str = ""


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """What is on record of a check in the most recent rollout of a revision.

    ``measured`` counts all measurements, ``passed`` and ``failed`` those that count,
    ``inconclusive`` those in a row. ``results`` are the last ones, oldest first. ``digest`` is that
    of the check that was measured.
    """

    name: str
    phase: CheckPhase = CheckPhase.RUNNING
    since: float | None = None
    measured: int = 0
    passed: int = 0
    failed: int = 0
    inconclusive: int = 0
    results: tuple[CheckResult, ...] = ()
    digest: str = ""

    @property
    def last(self) -> CheckResult | None:
        return self.results[-1] if self.results else None


# The uid of the revision, the name of the check, the start of the rollout, the number of the
# measurement, and the digest of the check: the same measurement has the same key in every process.
CheckKey = tuple[str, str, float, int, str]


@dataclass(frozen=True, slots=True)
class RunCheck:
    """Make measurement ``number`` of a check of a revision, in the rollout begun at ``started``.

    ``instance`` is the name of the instance that is asked, if the check asks one.
    """

    check: Check
    revision: str
    uid: str
    started: float
    number: int
    instance: str = field(default="", compare=False)

    @property
    def key(self) -> CheckKey:
        return self.uid, self.check.name, self.started, self.number, self.check.digest


@dataclass(frozen=True, slots=True)
class Measured:
    """What the measurement with this key found. ``message`` is evidence, without any secret."""

    key: CheckKey
    at: float
    found: Finding
    message: str = ""
