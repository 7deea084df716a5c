"""What a revision is, and the names that follow from it.

The golden vectors (golden/revision_hashes.json) are a promise to every user: **a vector that
changes means that an upgrade of the operator replaces every pod of every service.** A change of
the algorithm therefore gets a new version beside the old one, and new vectors beside the old.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from immutable_operator.domain.config import hashing as module
from immutable_operator.domain.config.hashing import find_revision, is_made_of, revision_hash
from immutable_operator.domain.model import (
    NODE_HASH,
    POD_HASH,
    Pin,
    Revision,
    instance_name,
    next_number,
    revision_id,
    revision_name,
    snapshot_name,
)

GOLDEN = Path(__file__).parent / "golden" / "revision_hashes.json"
RECORDED = json.loads(GOLDEN.read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = RECORDED["vectors"]
IMAGE = "registry.example/web@sha256:" + "9f" * 32


def _key(name: str) -> tuple[str, str]:
    """Kind and name; v2 knew of ConfigMaps only."""
    kind, _, rest = name.rpartition("/")
    return kind or "ConfigMap", rest


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: str(v["name"]))
def test_hash_equals_that_of_every_release(vector: dict[str, Any]) -> None:
    version = vector["hash"].partition(":")[0]
    digests = {_key(name): told for name, told in vector.get("config", {}).items()}
    found = revision_hash(vector["template"], version, digests)
    told = f"{vector['name']}: an upgrade would replace every pod of every user"
    assert found == vector["hash"], told
    for spelt in vector.get("spellings", ()):
        assert revision_hash(spelt, version, digests) == vector["hash"], told
    assert revision_id(found, ()) == vector["id"], told


def test_golden_vectors_differ_and_cover_the_newest_algorithm() -> None:
    hashes = [vector["hash"] for vector in VECTORS]
    assert len(set(hashes)) == len(hashes)
    newest = revision_hash({}).partition(":")[0]
    assert len([h for h in hashes if h.startswith(f"{newest}:")]) >= 20


def test_copy_names_equal_those_of_every_release() -> None:
    for vector in RECORDED["snapshots"]:
        assert snapshot_name("web", "uid-1", "0a1b2c3d", _key(vector["of"])) == vector["name"]


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "web", "image": IMAGE, **spec}]}}


def port(**fields: Any) -> dict[str, Any]:
    return pod(ports=[{"containerPort": 80, **fields}])


def meta(**fields: Any) -> dict[str, Any]:
    return {"metadata": fields, **pod()}


SAME = [
    ("order of keys", {"a": {"x": 1, "y": 2}, "b": 3}, {"b": 3, "a": {"y": 2, "x": 1}}),
    ("null is absent", pod(env=None), pod()),
    (
        "null deep down",
        {"metadata": {"creationTimestamp": None}, **pod()},
        {"metadata": {}, **pod()},
    ),
    (
        "TCP is what the CRD fills in",
        port(protocol="TCP"),
        port(),
    ),
]


@pytest.mark.parametrize(("why", "one", "other"), SAME, ids=[s[0] for s in SAME])
def test_empty_field_makes_no_new_revision(why: str, one: Any, other: Any) -> None:
    assert revision_hash(one) == revision_hash(other), why


DIFFERENT = [
    ("order of lists", pod(args=["a", "b"]), pod(args=["b", "a"])),
    ("another protocol", port(protocol="UDP"), port()),
    ("a number and its text", port(containerPort=80), port(containerPort="80")),
    ("letters that look alike", pod(args=["\u00e9"]), pod(args=["e\u0301"])),
    # Only a port's protocol is filled in: these are the user's own words.
    ("a label named protocol", meta(labels={"protocol": "TCP"}), meta(labels={})),
    ("an annotation of that name", meta(annotations={"protocol": "TCP"}), meta(annotations={})),
]


@pytest.mark.parametrize(("why", "one", "other"), DIFFERENT, ids=[d[0] for d in DIFFERENT])
def test_user_change_makes_a_new_revision(why: str, one: Any, other: Any) -> None:
    assert revision_hash(one) != revision_hash(other), why


def test_hashing_does_not_modify_the_template() -> None:
    template = pod(env=None, ports=[{"containerPort": 80, "protocol": "TCP"}])
    before = copy.deepcopy(template)
    revision_hash(template)
    assert template == before


def recorded(template: Any, number: int, version: str = POD_HASH) -> Revision:
    full = revision_hash(template, version)
    short = revision_id(full, ())
    return Revision(short, number, full, revision_name("web", short), f"uid-{number}")


def test_template_is_found_at_any_place_and_number() -> None:
    known = [recorded(pod(args=[str(n)]), n) for n in range(1, 5)]
    for order in itertools.permutations(known):
        assert find_revision(pod(args=["2"]), order) == known[1]
    assert find_revision(pod(args=["5"]), known) is None
    assert find_revision(pod(), ()) is None


def test_revision_is_found_by_the_algorithm_that_recorded_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def old(template: Any, config: Any) -> str:
        return "0" * 56 + f"{len(json.dumps(template)):08x}"

    monkeypatch.setattr(module, "_ALGORITHMS", {"v0": old, **module._ALGORITHMS})
    first, second = recorded(pod(), 1, "v0"), recorded(pod(args=["new"]), 2)
    assert first.hash.startswith("v0:")
    assert find_revision(pod(), (first, second)) == first
    assert find_revision(pod(args=["new"]), (first, second)) == second


SPELT = [pod(), pod(args=[]), pod(resources={}), pod(imagePullPolicy="IfNotPresent")]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_upgrade_finds_the_revision_of_an_unchanged_template(version: str) -> None:
    config = {("ConfigMap", "settings"): "sha256:1"} if version == "v2" else {}
    full = revision_hash(pod(), version, config)
    pins = tuple(Pin(name, "web-cfg0", digest) for (_, name), digest in config.items())
    before = Revision("0a1b2c3d", 4, full, "web-im0a1b2c3d", "uid", pins)
    assert find_revision(pod(), (before,), config) == before
    assert is_made_of(before, pod())
    # Written otherwise it was another revision then, and is one now: the record says no more.
    assert [find_revision(spelt, (before,), config) for spelt in SPELT[1:]] == [None] * 3
    # What it cannot tell apart it does not claim.
    assert find_revision(pod(), (before,), {**config, ("Secret", "settings"): "sha256:1"}) is None
    assert find_revision(pod(), (before,), {} if config else {("ConfigMap", "a"): "absent"}) is None


def test_new_revision_is_found_in_any_spelling() -> None:
    for first in SPELT:
        known = recorded(first, 1)
        assert [find_revision(spelt, (known,)) for spelt in SPELT] == [known] * len(SPELT)
        assert all(is_made_of(known, spelt) for spelt in SPELT)
        assert find_revision(pod(args=["x"]), (known,)) is None


def test_revision_of_an_unknown_algorithm_matches_nothing() -> None:
    later = Revision("12345678", 7, "v9:" + "0" * 64, "web-im12345678", "uid")
    assert find_revision(pod(), (later,)) is None
    assert next_number((later,)) == 8


def test_id_taken_by_another_hash_is_skipped() -> None:
    full = revision_hash(pod())
    natural = revision_id(full, ())
    assert re.fullmatch("[0-9a-f]{8}", natural)
    stranger = Revision(natural, 1, "v1:" + "0" * 64, "web-im" + natural, "uid")
    other = revision_id(full, (stranger,))
    assert re.fullmatch("[0-9a-f]{8}", other)
    assert other != natural
    assert revision_id(full, (stranger,)) == other
    itself = Revision(natural, 1, full, "web-im" + natural, "uid")
    assert revision_id(full, (itself,)) == natural


def test_revision_numbers_increase_and_are_unique() -> None:
    assert next_number(()) == 1
    assert next_number((recorded(pod(), 3), recorded(pod(args=["b"]), 1))) == 4


def test_instance_name_has_the_reserved_shape_and_fits_a_label() -> None:
    longest = "w" * 45
    name = instance_name(longest, "uid", "0a1b2c3d", 12, 3)
    assert re.fullmatch(rf"{longest}-im[0-9a-f]{{8}}-[a-z0-9]{{5}}", name)
    assert len(name) <= 63


def test_instance_name_identifies_the_birth() -> None:
    births = [
        (uid, revision, slot, incarnation)
        for uid in ("uid-1", "uid-2")
        for revision in ("0a1b2c3d", "ffffffff")
        for slot in range(20)
        for incarnation in range(5)
    ]
    names = {birth: instance_name("web", *birth) for birth in births}
    assert len(set(names.values())) == len(births)
    assert names == {birth: instance_name("web", *birth) for birth in births}


NODE: dict[str, Any] = {
    "image": {"id": "ami-0abc1234def567890"},
    "template": {"labels": {"tier": "web"}, "taints": [{"key": "a", "effect": "NoSchedule"}]},
    "provider": {"simulated": {}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"image": {"id": "ami-1"}},
        {"image": {"digest": "ami-0abc1234def567890"}},
        {"template": {}},
        {"template": {**NODE["template"], "labels": {"tier": "db"}}},
        {"template": {**NODE["template"], "labels": {"tier": ""}}},
        {"template": {**NODE["template"], "taints": [{"key": "a", "effect": "NoExecute"}]}},
        {"template": {**NODE["template"], "kubelet": {"maxPods": 0}}},
        {"template": {**NODE["template"], "kubelet": {"cpuCFSQuota": False}}},
        {"provider": {"karpenter": {}}},
        {"provider": {"simulated": {"capacity": {"cpu": "4"}}}},
    ],
    ids=str,
)
def test_different_node_is_a_different_revision(change: dict[str, Any]) -> None:
    assert revision_hash({**NODE, **change}, NODE_HASH) != revision_hash(NODE, NODE_HASH)


def test_revision_of_nodes_is_found_by_its_own_algorithm_and_without_config() -> None:
    known = Revision("12345678", 1, revision_hash(NODE, NODE_HASH), "web-im12345678", "uid")
    assert find_revision(NODE, (known,)) == known
    assert find_revision(NODE, (known,), {("ConfigMap", "a"): "sha256:0"}) is None
