"""What an ImmutableService has to say so that it does what a Deployment says. Pure.

What has no equivalent, or another one, is named in notes: where, what happens to it, what to do.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.image import is_pinned
from immutable_operator.api.names import (
    ANNOTATION_MIGRATION,
    API_VERSION,
    RESERVED_PREFIX,
    SERVICE_KIND,
)
from immutable_operator.api.scaling import is_zero
from immutable_operator.api.stateless import claims, node_local
from immutable_operator.cli.objects import Json

__all__ = ["Conversion", "Note", "convert", "is_deployment", "pod_problems"]

OURS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    ANNOTATION_MIGRATION,
)
"""Annotations that concern the Deployment only."""
STORED = frozenset(
    ("uid", "resourceVersion", "generation", "creationTimestamp", "selfLink", "managedFields")
)
KEPT = frozenset(("name", "namespace", "labels", "annotations"))
KNOWN = frozenset(
    (
        *("replicas", "selector", "template", "strategy", "minReadySeconds", "paused"),
        *("revisionHistoryLimit", "progressDeadlineSeconds"),
    )
)
LISTS = ("containers", "initContainers")


@dataclass(frozen=True)
class Note:
    """What becomes of a field: its path, and a sentence. ``blocks``: without a change by the user
    the API server refuses the result."""

    path: str
    text: str
    blocks: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


@dataclass
class Conversion:
    """An ImmutableService and the notes on it."""

    body: Json = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def note(self, path: str, text: str, *, blocks: bool = False) -> None:
        self.notes.append(Note(path, text, blocks))


def is_deployment(body: Any) -> bool:
    """Whether this is a Deployment, of any version."""
    if not isinstance(body, dict) or body.get("kind") != "Deployment":
        return False
    group = str(body.get("apiVersion")).partition("/")[0]
    return group in ("apps", "extensions")


def convert(deployment: Json, *, autoscaled: bool = False) -> Conversion:
    """Convert a Deployment. ``autoscaled``: an autoscaler sets its replicas.

    Fields keep their order, so that a comment can stay with its field.
    """
    found = Conversion()
    spec = _mapping(deployment.get("spec"))
    named = {"apiVersion": API_VERSION, "kind": SERVICE_KIND, "metadata": {}, "spec": {}}
    found.body = {key: named[key] for key in (*deployment, *named) if key in named}
    found.body["metadata"] = _metadata(_mapping(deployment.get("metadata")), found)
    found.body["spec"] = _spec(spec, found, autoscaled=autoscaled)
    _name_problems(found)
    return found


def _mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _metadata(given: Json, found: Conversion) -> Json:
    made = {}
    for key, value in given.items():
        if key in KEPT:
            made[key] = value
        elif key not in STORED:
            found.note(f"metadata.{key}", "left out: it belongs to the Deployment")
    annotations = _mapping(made.get("annotations"))
    left = {key: value for key, value in annotations.items() if key not in OURS}
    if left != annotations:
        made["annotations"] = left
        if not left:
            del made["annotations"]
    return made


def _spec(given: Json, found: Conversion, *, autoscaled: bool) -> Json:
    template = _template(_mapping(given.get("template")), found)
    replicas = given.get("replicas")
    several = autoscaled or (isinstance(replicas, int) and replicas > 1)
    added = {
        "rollout": _rollout(given, found),
        "immutability": _immutability(template, found, several=several),
        "historyLimit": _history(given, found),
    }
    made: Json = {}
    for key, value in given.items():
        if key == "template":
            made |= {name: what for name, what in added.items() if what}
            made["template"] = template
        elif key == "replicas":
            if value is not None:
                made["replicas"] = value
        elif key not in KNOWN:
            found.note(f"spec.{key}", "left out: an ImmutableService has no such field")
    if "selector" in given:
        found.note(
            "spec.selector",
            "left out: the operator finds its pods by the label immutable.dev/service, which it"
            " sets; Services and PodDisruptionBudgets still select by the labels of the template",
        )
    if given.get("paused"):
        found.note(
            "spec.paused",
            "left out: spec.suspend would stop repairs, too; to hold rollouts only, create a"
            " freeze: kubectl immutable freeze",
        )
    _surge(made, found)
    return made


def _template(given: Json, found: Conversion) -> Json:
    template = copy.deepcopy(given)
    metadata = _mapping(template.get("metadata"))
    for kind in ("labels", "annotations"):
        texts = _mapping(metadata.get(kind))
        for key in [key for key in texts if str(key).startswith(RESERVED_PREFIX)]:
            del texts[key]
            path = f"spec.template.metadata.{kind}.{key}"
            found.note(path, f"left out: only the operator writes keys with {RESERVED_PREFIX}")
    return template


def _rollout(given: Json, found: Conversion) -> Json:
    made = _strategy(_mapping(given.get("strategy")), found)
    for key in ("minReadySeconds", "progressDeadlineSeconds"):
        if given.get(key) is not None:
            made[key] = given[key]
    if "progressDeadlineSeconds" in made:
        found.note(
            "spec.progressDeadlineSeconds",
            "moved to spec.rollout; when the deadline has passed, a Deployment only reports it,"
            " and an ImmutableService goes back to the last good revision; to keep the failed"
            " revision instead, set rollout.onFailure: Hold",
        )
    return made


def _strategy(given: Json, found: Conversion) -> Json:
    if given.get("type") == "Recreate":
        found.note(
            "spec.strategy.type",
            "Recreate has no exact equivalent: spec.rollout replaces each pod only after it has"
            " ended, but with several replicas both revisions can run at once; with one replica it"
            " is the same",
        )
        rollout = {"maxSurge": 0, "maxUnavailable": "100%"}
        return {**rollout, "podReplacement": "TerminationComplete"}
    rolling = _mapping(given.get("rollingUpdate"))
    made = {}
    for key in ("maxSurge", "maxUnavailable"):
        if rolling.get(key) is not None:
            made[key] = _amount(rolling[key])
    if is_zero(made.get("maxSurge", "25%")) and "maxUnavailable" not in made:
        made["maxUnavailable"] = "25%"  # the default of a Deployment
    return made


def _amount(value: Any) -> Any:
    """Write a percentage without leading zeros."""
    text = str(value)
    number = text[:-1]
    return f"{int(number)}%" if text.endswith("%") and number.isdigit() else value


def _immutability(template: Json, found: Conversion, *, several: bool) -> Json:
    made: Json = {}
    for problem in node_local(template):
        path, _, what = problem.partition(": ")
        what = what.partition(", so ")[0].partition(";")[0]
        made["nodeLocal"] = "Allow"
        found.note(
            path,
            f"{what}, so spec.immutability.nodeLocal: Allow was set; what is kept on a node is lost"
            " when the pod is replaced on another one",
        )
    if problem := claims(template):
        path, _, what = problem.partition(": ")
        what = what.partition(",")[0]
        if several:
            made["sharedVolumes"] = "Allow"
            found.note(
                path,
                f"{what}, so spec.immutability.sharedVolumes: Allow was set; all replicas and their"
                " successors use it at once",
            )
        else:
            found.note(
                path,
                f"{what}; if only one node can use the volume at a time, a successor cannot start"
                " beside its predecessor: set rollout.maxSurge: 0 and rollout.maxUnavailable: 1",
            )
    if _writes_root(_mapping(template.get("spec"))):
        made["writableRootFilesystem"] = True
        found.note(
            "spec.template.spec.containers",
            "they may write to their root file system, so"
            " spec.immutability.writableRootFilesystem: true was set; remove it if they write to"
            " volumes only",
        )
    return made


def _writes_root(spec: Json) -> bool:
    containers = [c for kind in LISTS for c in spec.get(kind) or () if isinstance(c, dict)]
    of_each = [_mapping(container.get("securityContext")) for container in containers]
    return any(own.get("readOnlyRootFilesystem") is None for own in of_each)


def _history(given: Json, found: Conversion) -> int | None:
    limit = given.get("revisionHistoryLimit")
    if not isinstance(limit, int):
        return None
    kept = min(max(limit, 1), 100)
    if kept != limit:
        found.note("spec.revisionHistoryLimit", f"{limit} became historyLimit: {kept} (1 to 100)")
    return kept


def _surge(spec: Json, found: Conversion) -> None:
    """Note that a successor needs a node of its own."""
    if is_zero(_mapping(spec.get("rollout")).get("maxSurge", "25%")):
        return
    pod = _mapping(_mapping(spec.get("template")).get("spec"))
    for path, text in pod_problems(pod):
        found.note(f"spec.template.spec.{path}", text)


def pod_problems(pod: Json) -> list[tuple[str, str]]:
    """Return what keeps a successor from running beside its predecessor: path, sentence."""
    advice = "if no node is free, set rollout.maxSurge: 0 and rollout.maxUnavailable: 1"
    if pod.get("hostNetwork"):
        return [("hostNetwork", f"a successor needs another node while both run; {advice}")]
    for kind in LISTS:
        for number, container in enumerate(pod.get(kind) or ()):
            for port in _mapping(container).get("ports") or ():
                if _mapping(port).get("hostPort"):
                    path = f"{kind}[{number}].ports"
                    what = f"hostPort {port['hostPort']}"
                    return [
                        (path, f"{what}: a successor needs another node while both run; {advice}")
                    ]
    return []


def _name_problems(found: Conversion) -> None:
    """Note what the API server would refuse."""
    # The models take long to import.
    from immutable_operator.api.service import validate_service

    name = str(found.body["metadata"].get("name") or "")
    if not name and not found.body["metadata"].get("generateName"):
        found.note("metadata.name", "required value; give the Deployment a name", blocks=True)
    try:
        validate_service(name, found.body["spec"])
    except InvalidSpec as error:
        for problem in error.problems:
            path, _, text = problem.partition(": ")
            if _is_unpinned(found.body, text):
                text = f"{text.partition('; ')[0]}; run: kubectl immutable pin -f FILE"
                found.note(path, text)
            else:
                found.note(path, text, blocks=True)


def _is_unpinned(body: Json, text: str) -> bool:
    image = text.partition("image ")[2].partition(" ")[0]
    return bool(image) and "@" not in image and not is_pinned(image)
