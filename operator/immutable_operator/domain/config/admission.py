"""What admission made of a pod: its differences from what was asked for.

Both are compared in the canonical form of templates, so that defaults of the API server are no
difference. What its built-in plug-ins add is none either: priority, tolerations, the pull secrets
and the token of the service account, resources from a LimitRange, overhead of a runtime class.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from immutable_operator.domain.config.canonical import canonical
from immutable_operator.domain.model import Change, ChangeKind

__all__ = ["differences"]

Said = dict[str, Any]
MOST = 100
_PATH = 512
# The field by which the items of a list are told apart.
_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "resourceClaims": "name",
    "readinessGates": "conditionType",
}
_MAPS = frozenset(("labels", "annotations", "nodeSelector", "limits", "requests"))
# A struct that is absent on one side is compared field by field.
_OPEN = _MAPS | {"metadata", "spec", "resources", "securityContext"}
_GIVEN_BY_PLUGINS = ("priority", "preemptionPolicy", "priorityClassName", "imagePullSecrets")
_LIMIT_RANGER = "kubernetes.io/limit-ranger"
_BY_THE_NODE = "topology.kubernetes.io/"


def differences(asked: Mapping[str, Any], born: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return how a pod differs from the manifest that was sent, by path; at most `MOST` changes.

    ``asked`` has ``metadata`` and ``spec``. ``born`` has them, too, without what only this one pod
    has; ``removed`` lists the labels and annotations that are missing since its creation, and
    ``placed`` says that scheduling gates held it back, so that other components chose its nodes.
    """
    wanted, got = canonical(_manifest(asked)) or {}, canonical(_manifest(born)) or {}
    _forgive_metadata(wanted.setdefault("metadata", {}), got.setdefault("metadata", {}), born)
    _forgive(wanted.get("spec") or {}, got.get("spec") or {}, placed=bool(born.get("placed")))
    limited = got["metadata"].get("annotations", {}).pop(_LIMIT_RANGER, "")
    _forgive_limits(wanted.get("spec") or {}, got.get("spec") or {}, limited)
    found = sorted(_walk("", "", wanted, got), key=lambda change: change.path)
    if len(found) > MOST:
        rest = [(c.path, c.kind, c.digest) for c in found[MOST - 1 :]]
        found[MOST - 1 :] = [Change("spec", ChangeKind.CHANGED, _digest(rest))]
    return tuple(found)


def _manifest(body: Mapping[str, Any]) -> Said:
    metadata = body.get("metadata") or {}
    named = {key: metadata.get(key) for key in ("labels", "annotations")}
    return {"metadata": named, "spec": body.get("spec") or {}}


def _forgive_metadata(wanted: Said, got: Said, born: Mapping[str, Any]) -> None:
    """Leave out what others wrote since: only the removed keys were removed by admission."""
    removed = born.get("removed") or {}
    for field in ("labels", "annotations"):
        ours, theirs = wanted.get(field, {}), got.get(field, {})
        for key in ours.keys() - theirs.keys() - set(removed.get(field) or ()):
            del ours[key]
        for key in theirs.keys() - ours.keys():
            if key.startswith(_BY_THE_NODE):
                del theirs[key]


def _forgive(wanted: Said, got: Said, *, placed: bool) -> None:
    for spec in (wanted, got):
        spec.pop("nodeName", None)
    fields = (*_GIVEN_BY_PLUGINS, *(("overhead",) if "runtimeClassName" in wanted else ()))
    for field in fields:
        if field not in wanted:
            got.pop(field, None)
    tolerated = wanted.get("tolerations", [])
    if all(toleration in got.get("tolerations", ()) for toleration in tolerated):
        _copy(wanted, got, "tolerations")
    _copy(wanted, got, "schedulingGates")
    if placed:
        _copy(wanted, got, "nodeSelector")
        _copy(wanted, got, "affinity")
    elif "runtimeClassName" in wanted:
        ours = wanted.get("nodeSelector", {})
        if ours.items() <= got.get("nodeSelector", {}).items():
            _copy(wanted, got, "nodeSelector")


def _copy(wanted: Said, got: Said, field: str) -> None:
    got.pop(field, None)
    if field in wanted:
        got[field] = wanted[field]


def _forgive_limits(wanted: Said, got: Said, limited: str) -> None:
    """Leave out resources that a LimitRange added: the plug-in notes the containers."""
    for field in ("containers", "initContainers"):
        asked = {c.get("name"): c for c in wanted.get(field, ())}
        for container in got.get(field, ()):
            name = container.get("name")
            if name not in asked or f"container {name}" not in limited:
                continue
            before = asked[name].get("resources", {})
            now = container.get("resources", {})
            for part in ("limits", "requests"):
                kept = {k: v for k, v in now.get(part, {}).items() if k in before.get(part, {})}
                now.pop(part, None)
                now |= {part: kept} if kept else {}
            if not now:
                container.pop("resources", None)


def _walk(path: str, field: str, wanted: Any, got: Any) -> Iterator[Change]:
    """Yield the changes below a path; ``field`` is the name of the field itself."""
    if wanted == got:
        return
    if _are(dict, wanted, got) and (field in _OPEN or None not in (wanted, got)):
        yield from _in_struct(path, field, wanted or {}, got or {})
    elif (key := _KEYS.get(field)) and _are(list, wanted, got) and _keyed(key, wanted, got):
        yield from _in_list(path, field, wanted or [], got or [])
    elif wanted is None:
        yield _change(path, ChangeKind.ADDED, got)
    elif got is None:
        if wanted not in ("", {}, []):  # nothing is lost
            yield _change(path, ChangeKind.REMOVED, None)
    else:
        yield _change(path, ChangeKind.CHANGED, got)


def _in_struct(path: str, field: str, wanted: Said, got: Said) -> Iterator[Change]:
    for key in sorted(wanted.keys() | got.keys()):
        below = f"{path}[{key}]" if field in _MAPS else f"{path}.{key}".lstrip(".")
        yield from _walk(below, "" if field in _MAPS else key, wanted.get(key), got.get(key))


def _in_list(path: str, field: str, wanted: list[Said], got: list[Said]) -> Iterator[Change]:
    key = _KEYS[field]
    ours, theirs = {item[key]: item for item in wanted}, {item[key]: item for item in got}
    for name in ours | theirs:
        yield from _walk(f"{path}[{name}]", "", ours.get(name), theirs.get(name))
    order = [name for name in theirs if name in ours]
    if order != [name for name in ours if name in theirs]:
        yield _change(path, ChangeKind.CHANGED, order)


def _are(kind: type, *sides: Any) -> bool:
    return all(side is None or isinstance(side, kind) for side in sides)


def _keyed(key: str, *lists: Iterable[Any] | None) -> bool:
    """Return whether all items of all lists have the key, and no two of one list the same."""
    for items in lists:
        names = [i.get(key) if isinstance(i, dict) else None for i in items or ()]
        if None in names or len(set(map(str, names))) != len(names):
            return False
    return True


def _change(path: str, kind: ChangeKind, value: Any) -> Change:
    return Change(path[:_PATH], kind, _digest(value))


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
