"""One form for all spellings of the same pods, and another for every other pod.

The oracle is the API server itself (tests/cluster/test_same_pods.py); what is here follows from it.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from immutable_operator.domain.config.canonical import canonical
from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.config.nodes import canonical_node
from immutable_operator.domain.config.quantity import MILLI, canonical_quantity
from tests.unit.pod_spellings import DEFAULTS, EMPTY, IMAGE, QUANTITIES, RICH, places, rewritten

Json = dict[str, Any]
Path = tuple[str | int, ...]
SEEDS = st.integers(0, 2**32)


@given(SEEDS)
def test_rewritten_template_of_the_same_pods_is_the_same_revision(seed: int) -> None:
    spelt = rewritten(RICH, random.Random(seed).randrange)
    before = copy.deepcopy(spelt)
    assert canonical(spelt) == canonical(RICH)
    assert revision_hash(spelt) == revision_hash(RICH)
    assert spelt == before, "nothing is written into the template"


def test_canonical_form_is_idempotent() -> None:
    assert canonical(canonical(RICH)) == canonical(RICH)


@pytest.mark.parametrize("case", [*DEFAULTS, *EMPTY], ids=lambda c: f"{c[0]} {c[2]}")
def test_every_default_applies_somewhere_in_the_example(case: Any) -> None:
    """A default that applies nowhere in the example would not be tested."""
    _, where, field, value = case
    free = [place for place in where(copy.deepcopy(RICH)) if field not in place]
    assert free
    for index in range(len(free)):
        spelt = copy.deepcopy(RICH)
        [place for place in where(spelt) if field not in place][index][field] = value
        assert canonical(spelt) == canonical(RICH)


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _leaves(item, (*path, key))
    else:
        yield path


def _at(template: Any, path: Path) -> Any:
    for key in path:
        template = template[key]
    return template


LEAVES = list(_leaves(RICH))
AMOUNTS = {(id(place), key) for place, key in places(RICH)}


def _other(path: Path) -> Any:
    """Something else than what is said there."""
    said = _at(RICH, path)
    if (id(_at(RICH, path[:-1])), path[-1]) in AMOUNTS:
        return "7"
    match said:
        case bool():
            return not said
        case int():
            return said + 1
        case str():
            return said + "x"
        case _:
            return {"said": "now"}


@pytest.mark.parametrize("path", LEAVES, ids=lambda p: ".".join(map(str, p)))
def test_change_of_any_value_is_another_revision(path: Path) -> None:
    changed = copy.deepcopy(RICH)
    _at(changed, path[:-1])[path[-1]] = _other(path)
    assert revision_hash(changed) != revision_hash(RICH)


@pytest.mark.parametrize("path", LEAVES, ids=lambda p: ".".join(map(str, p)))
def test_removal_of_any_value_is_another_revision(path: Path) -> None:
    changed = copy.deepcopy(RICH)
    del _at(changed, path[:-1])[path[-1]]
    assert revision_hash(changed) != revision_hash(RICH)


@given(st.sampled_from(LEAVES), SEEDS)
def test_change_is_detected_in_every_spelling(path: Path, seed: int) -> None:
    changed = copy.deepcopy(RICH)
    _at(changed, path[:-1])[path[-1]] = _other(path)
    draw = random.Random(seed).randrange
    assert canonical(rewritten(changed, draw)) != canonical(rewritten(RICH, draw))


def _lists(value: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(value, list) and len(value) > 1:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _lists(item, (*path, key))


@pytest.mark.parametrize("path", list(_lists(RICH)), ids=lambda p: ".".join(map(str, p)))
def test_order_of_a_list_is_significant(path: Path) -> None:
    changed = copy.deepcopy(RICH)
    _at(changed, path).reverse()
    assert revision_hash(changed) != revision_hash(RICH)


def pod(**spec: Any) -> Json:
    return {"spec": {"containers": [{"name": "web", "image": IMAGE}], **spec}}


def web(image: str = IMAGE, **container: Any) -> Json:
    return {"spec": {"containers": [{"name": "web", "image": image, **container}]}}


def host_network(**container: Any) -> Json:
    template = web(**container)
    template["spec"]["hostNetwork"] = True
    return template


def _whole_pod(resources: Json, asked: Json) -> Json:
    """A pod with resources of its own, and a container that asks for some."""
    container = {"name": "web", "image": IMAGE, "resources": {"requests": asked}}
    return {"spec": {"containers": [container], "resources": resources}}


LATEST = IMAGE.replace("@", ":latest@")
TERM: Json = {"topologyKey": "zone"}
SAME: list[tuple[str, Json, Json]] = [
    (
        "requests of the pod follow its limits",
        _whole_pod({"limits": {"cpu": "1"}}, asked={"memory": "1Mi"}),
        _whole_pod({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, asked={"memory": "1Mi"}),
    ),
    (
        "requests follow limits",
        web(resources={"limits": {"cpu": 1, "memory": "1Gi"}}),
        web(
            resources={
                "limits": {"cpu": "1", "memory": "1Gi"},
                "requests": {"cpu": "1000m", "memory": "1024Mi"},
            }
        ),
    ),
    (
        "requests of a whole pod follow its limits",
        pod(resources={"limits": {"cpu": "2"}}),
        pod(resources={"limits": {"cpu": "2"}, "requests": {"cpu": "2"}}),
    ),
    ("a tag that says latest is pulled always", web(LATEST), web(LATEST, imagePullPolicy="Always")),
    (
        "an image as a volume",
        pod(volumes=[{"name": "i", "image": {"reference": IMAGE}}]),
        pod(volumes=[{"name": "i", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}]),
    ),
    ("the service account of those without one", pod(), pod(serviceAccountName="default")),
    ("the account's old name", pod(serviceAccountName="a"), pod(serviceAccount="a")),
    (
        "the account's old name counts only alone",
        pod(serviceAccountName="a"),
        pod(serviceAccountName="a", serviceAccount="b"),
    ),
    (
        "ports of the host's network",
        host_network(ports=[{"containerPort": 80}]),
        host_network(ports=[{"containerPort": 80, "hostPort": 80}]),
    ),
    (
        "a port is a number",
        web(ports=[{"containerPort": 80.0}]),
        web(ports=[{"containerPort": 80}]),
    ),
    (
        "less than a thousandth",
        web(resources={"limits": {"cpu": "1u"}}),
        web(resources={"limits": {"cpu": "1m"}}),
    ),
    (
        "an empty preference",
        pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}),
        pod(affinity={}),
    ),
    ("a name of its own", pod(), {"metadata": {"name": "a", "uid": "b", "labels": {}}, **pod()}),
]
DIFFERENT: list[tuple[str, Json, Json]] = [
    ("a tag that says latest", web(LATEST), web(LATEST, imagePullPolicy="IfNotPresent")),
    (
        "a port of the host",
        web(ports=[{"containerPort": 80, "hostPort": 80}]),
        web(ports=[{"containerPort": 80}]),
    ),
    ("always pulled", web(), web(imagePullPolicy="Always")),
    (
        "a named port and its number",
        web(livenessProbe={"tcpSocket": {"port": 8080}}),
        web(livenessProbe={"tcpSocket": {"port": "8080"}}),
    ),
    (
        "an empty volume and a volume in memory",
        pod(volumes=[{"name": "v"}]),
        pod(volumes=[{"name": "v", "emptyDir": {"medium": "OwnerMemory"}}]),
    ),
    (
        "a selector of everything, and of nothing",
        pod(
            affinity={
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {**TERM, "labelSelector": {}}
                    ]
                }
            }
        ),
        pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}),
    ),
    (
        "all namespaces, and the pod's own",
        pod(
            affinity={
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {**TERM, "namespaceSelector": {}}
                    ]
                }
            }
        ),
        pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}),
    ),
    ("a toleration of everything", pod(tolerations=[{}]), pod(tolerations=[])),
    ("false said of what may be left open", pod(hostUsers=False), pod()),
    ("no service links", pod(enableServiceLinks=False), pod()),
    ("no time to end", pod(terminationGracePeriodSeconds=0), pod()),
    ("the user root", pod(securityContext={"runAsUser": 0}), pod()),
    ("an empty label", {"metadata": {"labels": {"a": ""}}, **pod()}, pod()),
    (
        "nothing requested",
        web(resources={"limits": {"cpu": "1"}}),
        web(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "0"}}),
    ),
    (
        "mode 0",
        pod(volumes=[{"name": "v", "configMap": {"name": "a", "defaultMode": 0}}]),
        pod(volumes=[{"name": "v", "configMap": {"name": "a"}}]),
    ),
    ("a field of a future version", web(tomorrow=False), web()),
    ("an empty map of a future version", pod(tomorrow={}), pod()),
    ("options of SELinux", pod(securityContext={"seLinuxOptions": {}}), pod()),
    (
        "a thousandth more",
        web(resources={"limits": {"cpu": "1"}}),
        web(resources={"limits": {"cpu": "1001m"}}),
    ),
    (
        "a container that asks for what the pod is limited to",
        _whole_pod({"limits": {"cpu": "1"}}, asked={"cpu": "500m"}),
        _whole_pod({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, asked={"cpu": "500m"}),
    ),
    (
        "a megabyte and a mebibyte",
        web(resources={"limits": {"memory": "1M"}}),
        web(resources={"limits": {"memory": "1Mi"}}),
    ),
]


@pytest.mark.parametrize(("why", "one", "other"), SAME, ids=[s[0] for s in SAME])
def test_equal_pods_are_the_same_revision(why: str, one: Json, other: Json) -> None:
    assert canonical(one) == canonical(other), why
    assert revision_hash(one) == revision_hash(other), why


@pytest.mark.parametrize(("why", "one", "other"), DIFFERENT, ids=[d[0] for d in DIFFERENT])
def test_different_pods_are_another_revision(why: str, one: Json, other: Json) -> None:
    assert revision_hash(one) != revision_hash(other), why


@pytest.mark.parametrize("spellings", QUANTITIES, ids=lambda s: str(s[0]))
def test_quantity_is_compared_as_a_number(spellings: list[str | int | float]) -> None:
    assert len({canonical_quantity(text) for text in spellings}) == 1


@pytest.mark.parametrize(
    ("given_text", "rounded"),
    [
        ("1n", "0.001"),
        ("-1n", "-0.001"),
        ("1.0001", "1.001"),
        ("0.1n", "0.001"),
        ("1.1Ki", "1127"),
        ("0.1Ki", "102.4"),
        ("8Ei", "9223372036854775807"),
        ("1E", "1" + "0" * 18),
        ("1E2", "100"),
        ("-0", "0"),
        ("0Gi", "0"),
    ],
)
def test_quantity_is_rounded_as_the_api_server_does(given_text: str, rounded: str) -> None:
    assert canonical_quantity(given_text, MILLI) == rounded


@given(
    st.text() | st.sampled_from(["NaN", "Infinity", "1_0", " 1", "m", "Ki", "1e999999999", "1e3.5"])
)
def test_invalid_quantity_is_kept_as_written(text: str) -> None:
    found = canonical_quantity(text)
    assert isinstance(found, str)
    assert found == text or found.strip("-0123456789.") == ""


nothing: st.SearchStrategy[Any] = st.sampled_from([None, "", 0, False, [], {}])
json_values = st.recursive(
    nothing | st.text(max_size=3) | st.integers() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.data())
def test_any_value_in_any_place_has_a_canonical_form(data: st.DataObject) -> None:
    """A template that the API server would refuse costs one revision and raises no error."""
    template = copy.deepcopy(RICH)
    path = data.draw(st.sampled_from([p[:n] for p in LEAVES for n in range(1, len(p) + 1)]))
    _at(template, path[:-1])[path[-1]] = data.draw(json_values)
    json.dumps(canonical(template))


def _node(**changes: Any) -> Json:
    """The template of a node; ``changes`` are fields of its provider."""
    taints = [{"key": key, "effect": "NoSchedule"} for key in ("b", "a")]
    kubelet = {"clusterDNS": ["10.0.0.1", "10.0.0.2"], "systemReserved": {"cpu": "100m"}}
    needs = [{"key": key, "operator": "In", "values": ["2", "1"]} for key in ("zone", "arch")]
    karpenter = {"requirements": needs, "resources": {"requests": {"cpu": "4"}}, **changes}
    return {
        "image": {"id": "img-1"},
        "template": {"labels": {"tier": "a"}, "taints": taints, "kubelet": kubelet},
        "provider": {"karpenter": karpenter},
    }


def _with(path: str, value: Any) -> Json:
    """The node with another value at a path of fields."""
    made = _node()
    *fields, last = path.split(".")
    place = made
    for field in fields:
        place = place[field]
    place[last] = value
    return made


TAINTS = [{"key": key, "effect": "NoSchedule"} for key in ("a", "b")]
SAME_NODES = {
    "order of taints": _with("template.taints", TAINTS),
    "order of values": _node(
        requirements=[
            {"key": "arch", "operator": "In", "values": ["1", "2"]},
            {"key": "zone", "operator": "In", "values": ["2", "1"]},
        ]
    ),
    "quantity of the provider": _node(resources={"requests": {"cpu": "4000m"}}),
    "quantity of the kubelet": _with("template.kubelet.systemReserved", {"cpu": "0.1"}),
    "null": _with("template.annotations", None),
    "empty map": _with("template.annotations", {}),
    "empty list": _with("template.kubelet.allowedUnsafeSysctls", []),
    "empty map of the provider": _node(limits={}),
}
OTHER_NODES = {
    "order of name servers": _with("template.kubelet.clusterDNS", ["10.0.0.2", "10.0.0.1"]),
    "quantity": _node(resources={"requests": {"cpu": "5"}}),
    "number where no quantity is": _with("template.labels", {"tier": "1000m"}),
    "false": _with("template.kubelet.failSwapOn", False),
    "zero": _with("template.kubelet.maxPods", 0),
    "effect": _with("template.taints", [*TAINTS[:1], {"key": "b", "effect": "NoExecute"}]),
}


@pytest.mark.parametrize("why", SAME_NODES)
def test_spelling_of_a_node_makes_no_other_revision(why: str) -> None:
    assert canonical_node(SAME_NODES[why]) == canonical_node(_node())


@pytest.mark.parametrize("why", OTHER_NODES)
def test_other_node_is_another_revision(why: str) -> None:
    assert canonical_node(OTHER_NODES[why]) != canonical_node(_node())


@pytest.mark.parametrize("field", ["capacity", "requests", "systemReserved", "kubeReserved"])
def test_quantities_of_a_node_are_compared_as_numbers(field: str) -> None:
    spelt = [canonical_node({field: {"cpu": text}}) for text in ("1", "1000m", 1)]
    assert spelt == [{field: {"cpu": "1"}}] * 3


def test_label_of_a_node_that_looks_like_a_quantity_is_kept_as_written() -> None:
    assert canonical_node({"labels": {"size": "1000m"}}) == {"labels": {"size": "1000m"}}


def test_provider_without_settings_is_named_nevertheless() -> None:
    assert canonical_node({"provider": {"karpenter": {}}}) == {"provider": {"karpenter": {}}}
    assert canonical_node({"template": {"kubelet": {}}}) == {}
