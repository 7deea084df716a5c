"""Revisions: the identity of a wanted state, and the names that are derived from it.

The hash covers only fields that the user supplies, and starts with the version of its algorithm, so
that an upgrade of the operator or of the API server replaces no instance (golden vectors in
tests/unit/golden/revision_hashes.json). A changed algorithm gets a new version; the old one stays,
because recorded revisions are compared with the algorithm that computed them. v1 and v2 compare
what is written, v3 compares the pods that result from it, v4 with the defaults of the operator. n1
is for nodes.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from immutable_operator.domain.config.births import as_written, born_from
from immutable_operator.domain.config.canonical import canonical
from immutable_operator.domain.config.nodes import canonical_node
from immutable_operator.domain.model import CONFIG_MAP, NODE_HASH, POD_HASH, Digests, Revision

__all__ = [
    *("NO_CONFIG", "Template", "find_revision", "is_made_of", "revision_hash", "template_of"),
]

Template = Mapping[str, Any]


NO_CONFIG: Digests = {}


def _canonical_v1(value: Any) -> Any:
    """Drop nulls, and a port's ``protocol: TCP``, which the CRD sets by default.

    An empty map stays (``emptyDir: {}`` means something), and so does the order of lists.
    """
    if isinstance(value, Mapping):
        port = "containerPort" in value
        return {
            str(key): _canonical_v1(item)
            for key, item in value.items()
            if item is not None and not (port and key == "protocol" and item == "TCP")
        }
    if isinstance(value, list | tuple):
        return [_canonical_v1(item) for item in value]
    return value


def _hash_v1(template: Template, _: Digests = NO_CONFIG) -> str:
    text = json.dumps(
        _canonical_v1(as_written(template)),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _hash_v2(template: Template, config: Digests) -> str:
    digests = {name: digest for (_, name), digest in config.items()}
    wanted = {"config": digests, "template": _hash_v1(template)}
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def _hash_v3(template: Template, config: Digests) -> str:
    digests = {f"{kind}/{name}": digest for (kind, name), digest in config.items()}
    wanted = {"config": digests, "template": canonical(as_written(template))}
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _hash_v4(template: Template, config: Digests) -> str:
    return _hash_v3(born_from(template), config)


def _hash_n1(template: Template, _: Digests = NO_CONFIG) -> str:
    text = json.dumps(canonical_node(template), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_ALGORITHMS: Mapping[str, Callable[[Template, Digests], str]] = {
    "v1": _hash_v1,
    "v2": _hash_v2,
    "v3": _hash_v3,
    POD_HASH: _hash_v4,
    NODE_HASH: _hash_n1,
}


def revision_hash(template: Template, version: str = POD_HASH, config: Digests = NO_CONFIG) -> str:
    """Return ``<version>:<64 hex>`` over the wanted state, however it is written.

    ``config`` are the digests of the pinned objects that it reads, by kind and name.
    """
    return _computed(json.dumps(template), version, tuple(sorted(config.items())))


@functools.lru_cache(maxsize=1024)  # each plan asks for the hash of a template that seldom changes
def _computed(template: str, version: str, config: tuple[tuple[tuple[str, str], str], ...]) -> str:
    return f"{version}:{_ALGORITHMS[version](json.loads(template), dict(config))}"


def find_revision(
    template: Template,
    revisions: Iterable[Revision],
    config: Digests | Callable[[Revision], Digests] = NO_CONFIG,
) -> Revision | None:
    """Return the recorded revision that has this template and this content of what it pins.

    Each revision is compared with the algorithm that recorded it. ``config`` are the digests, or a
    function that returns those by which a revision is to be compared.
    """
    computed: dict[object, str] = {}
    for revision in sorted(revisions, key=lambda r: -r.number):
        version = revision.hash.partition(":")[0]
        digests = config(revision) if callable(config) else config
        if not _can_tell(version, digests):
            continue
        known = (version, frozenset(digests.items()))
        if known not in computed:
            computed[known] = revision_hash(template, version, digests)
        if computed[known] == revision.hash:
            return revision
    return None


def _can_tell(version: str, config: Digests) -> bool:
    """Return whether a version records such configuration: v1 and n1 none, v2 only ConfigMaps."""
    if version in ("v1", NODE_HASH):
        return not config
    if version == "v2":
        return bool(config) and all(kind == CONFIG_MAP for kind, _ in config)
    return version in _ALGORITHMS


def is_made_of(revision: Revision, template: Template) -> bool:
    """Return whether ``revision`` was recorded for this template, with any configuration."""
    return find_revision(template, (revision,), revision.digests) is not None


def template_of(revision: Revision, template: Template) -> Template | None:
    """Return from what instances of a revision are created if it was recorded for this template.

    None: only its record has it. A revision of an older hash has it as it was written.
    """
    if not is_made_of(revision, template):
        return None
    is_newest = revision.hash.partition(":")[0] == POD_HASH
    return born_from(template) if is_newest else as_written(template)
