"""``kubectl immutable verify``: tries every path on a temporary service."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from immutable_operator.api.image import is_pinned, pin_problem
from immutable_operator.api.names import BREAK_GLASS_GROUP
from immutable_operator.cli.attempts import attempt
from immutable_operator.cli.login import Login
from immutable_operator.cli.objects import Json, condition
from immutable_operator.cli.outcome import Outcome
from immutable_operator.cli.path import Path
from immutable_operator.cli.paths import PATHS, UNTRIED
from immutable_operator.cli.person import Person
from immutable_operator.cli.problem import CannotRun
from immutable_operator.cli.report import conclusion, heading, line, reasons, report
from immutable_operator.cli.throwaway import Image, ThrowAway
from immutable_operator.kube.errors import ApiError, Forbidden, NotFound
from immutable_operator.wire.owner import SERVICES

__all__ = ["Options", "Verification", "chosen"]

DEPLOYMENTS = (
    "/apis/apps/v1/deployments?labelSelector=app.kubernetes.io%2Fname%3Dimmutable-operator"
)
# The operator's image has Python; the service only needs a running process.
SLEEP = ("python3", "-c", "import signal; signal.pause()")


@dataclass(frozen=True)
class Options:
    """Command-line options; ``paths`` are the paths to try, ``namespace`` "" means a new one."""

    login: Login
    paths: tuple[Path, ...]
    image: str = ""
    namespace: str = ""
    timeout: float = 60.0
    output: str = "table"
    keep: bool = False
    on_taint: str = "Replace"


def chosen(text: str) -> tuple[Path, ...]:
    """The paths in a list such as ``P1,P6-exec,C``: ids, rows or letters. Raises ValueError."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if not any(_matches(word, path) for path in PATHS):
            rows = dict.fromkeys(path.id.partition("-")[0] for path in PATHS)
            raise ValueError(f"unknown path {word!r}; the known paths are {', '.join(rows)}")
    return tuple(p for p in PATHS if not words or any(_matches(word, p) for word in words))


def _matches(word: str, path: Path) -> bool:
    return word in (path.id, path.id.partition("-")[0], path.id[0])


class Verification:
    """One run. `run` tries the paths; `away` must be removed afterwards.

    ``say`` receives progress messages; ``show`` receives the result of the command.
    """

    def __init__(
        self, options: Options, say: Callable[[str], None], show: Callable[[str], None]
    ) -> None:
        self._options = options
        self._say = say
        self._show = show
        self._people: list[Person] = []
        self.away: ThrowAway | None = None

    async def close(self) -> None:
        for person in self._people:
            await person.close()

    async def run(self) -> int:
        """Try all paths and return the exit code. Raises `CannotRun`."""
        options = self._options
        person, about, user, groups = await self._log_in()
        image, operator = await self._operator(person)
        name = f"verify-{secrets.token_hex(3)}"
        away = self.away = ThrowAway(
            person,
            options.namespace or f"immutable-{name}",
            name,
            own=not options.namespace,
            timeout=options.timeout,
            say=self._say,
        )
        self._say(f"creating service {name} in namespace {away.namespace}")
        guarded = condition(await away.make(image, options.on_taint), "Guarded")
        about |= {
            "operator": operator,
            "guarded": {key: guarded.get(key) for key in ("status", "reason", "message")},
        }
        if guarded.get("status") == "False":
            self._say(f"protection is incomplete: {guarded.get('message')}")
        member = await self._person(user=user, groups=(*groups, BREAK_GLASS_GROUP))
        return self._tell(await self._try_all(away, member), about)

    async def _try_all(self, away: ThrowAway, member: Person) -> list[Outcome]:
        options, rows = self._options, []
        show = self._show if options.output == "table" else self._say
        show(heading())
        for path in options.paths:
            actor = member if path.as_member else away.person
            reported = options.on_taint == "Report"
            row = await attempt(path, away, actor, reported=reported, timeout=options.timeout)
            rows.append(row)
            show(line(row))
        for name, what, result, why in UNTRIED if len(options.paths) == len(PATHS) else ():
            rows.append(Outcome(name, what, result, None, detail=why))
            show(line(rows[-1]))
        return rows

    def _tell(self, rows: Sequence[Outcome], about: Json) -> int:
        for reason in reasons(rows):
            self._say(reason)
        if self._options.output == "table":
            self._show(conclusion(rows))
        else:
            self._show(report(rows, about, self._options.output))
            self._say(conclusion(rows))
        return 0 if all(row.ok for row in rows) else 1

    async def _person(self, *, user: str = "", groups: Sequence[str] = ()) -> Person:
        try:
            person = await self._options.login.person(user=user, groups=groups)
        except Exception as error:
            raise CannotRun(
                f"cannot log in: {error}; choose another login with --kubeconfig or --context"
            ) from error
        self._people.append(person)
        return person

    async def _log_in(self) -> tuple[Person, dict[str, Any], str, tuple[str, ...]]:
        """The person, the description of command and cluster, and the person's name and groups."""
        person = await self._person()
        try:
            cluster = await person.read("/version")
            user, groups = await person.self_review()
        except ApiError as error:
            raise CannotRun(
                f"cannot reach the API server {person.server}: {error}; choose another cluster"
                " with --kubeconfig or --context"
            ) from error
        about = {
            "version": version("immutable-operator"),
            "cluster": {
                "server": person.server,
                "version": cluster.get("gitVersion"),
                "user": user,
            },
        }
        return person, about, user, groups

    async def _operator(self, person: Person) -> tuple[Image, Json | None]:
        """The image of the service, and the operator's Deployment if it can be read."""
        if problem := pin_problem(self._options.image) if self._options.image else None:
            raise CannotRun(f"--image: {problem}")
        found = await self._deployment(person)
        if self._options.image:
            return Image(self._options.image), found
        if found is None or not is_pinned(found["image"]):
            raise CannotRun(
                "cannot determine an image for the temporary service: you can read no Deployment"
                " with the label app.kubernetes.io/name=immutable-operator and an image pinned by"
                " digest; specify one that the nodes can pull:"
                " --image <registry>/<name>@sha256:<digest>"
            )
        return Image(found["image"], SLEEP), found

    async def _deployment(self, person: Person) -> Json | None:
        """The operator's Deployment; raises `CannotRun` if the chart is not installed."""
        try:
            await person.read(f"{SERVICES.all().rpartition('/')[0]}")
        except NotFound as error:
            raise CannotRun(
                "the operator is not installed: the API server does not know ImmutableServices;"
                " install its chart (see README.md)"
            ) from error
        try:
            items = (await person.read(DEPLOYMENTS))["items"]
        except Forbidden:
            return None
        for item in items:
            meta, [container, *_] = item["metadata"], item["spec"]["template"]["spec"]["containers"]
            return {
                "deployment": f"{meta['namespace']}/{meta['name']}",
                "version": (meta.get("labels") or {}).get("app.kubernetes.io/version"),
                "image": container["image"],
                "ready": (item.get("status") or {}).get("readyReplicas") or 0,
            }
        return None
