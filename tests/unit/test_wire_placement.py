"""On which nodes a pod may run, as the scheduler reads it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from immutable_operator.wire.placement import LabelSelector, Placement, Taint

LABELS = {"zone": "a", "cpus": "8", "empty": "", "big": "yes"}


def _placement(**spec: Any) -> Placement:
    return msgspec.convert(spec, Placement)


def _required(*terms: dict[str, Any]) -> Placement:
    found = {"nodeSelectorTerms": list(terms)}
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    return _placement(affinity={"nodeAffinity": {key: found}})


def _expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        (_expression("zone", "In", "a", "b"), True),
        (_expression("zone", "In", "b"), False),
        (_expression("none", "In", "a"), False),
        (_expression("zone", "In"), False),
        (_expression("empty", "In", ""), True),
        (_expression("zone", "NotIn", "b"), True),
        (_expression("zone", "NotIn", "a"), False),
        (_expression("none", "NotIn", "a"), True),
        (_expression("zone", "Exists"), True),
        (_expression("empty", "Exists"), True),
        (_expression("none", "Exists"), False),
        (_expression("zone", "DoesNotExist"), False),
        (_expression("none", "DoesNotExist"), True),
        (_expression("cpus", "Gt", "7"), True),
        (_expression("cpus", "Gt", "8"), False),
        (_expression("cpus", "Lt", "9"), True),
        (_expression("cpus", "Lt", "8"), False),
        (_expression("none", "Gt", "1"), False),
        (_expression("zone", "Gt", "1"), False),
        (_expression("cpus", "Lt", "many"), False),
        (_expression("cpus", "Gt"), False),
        (_expression("zone", "Like", "a"), False),
        ({"key": "zone", "operator": "In", "values": None}, False),
    ],
    ids=str,
)
def test_expression_selects_a_node(expression: dict[str, Any], selected: bool) -> None:
    assert _required({"matchExpressions": [expression]}).selects("n1", LABELS) is selected


ZONE, BIG, OTHER = (
    _expression("zone", "In", "a"),
    _expression("big", "Exists"),
    _expression("zone", "In", "b"),
)
NAMED = _expression("metadata.name", "In", "n1")


@pytest.mark.parametrize(
    ("terms", "selected"),
    [
        ([{"matchExpressions": [ZONE, BIG]}], True),
        ([{"matchExpressions": [ZONE, OTHER]}], False),
        ([{"matchExpressions": [OTHER]}, {"matchExpressions": [ZONE]}], True),
        ([{"matchExpressions": [OTHER]}, {"matchExpressions": [OTHER]}], False),
        ([{"matchFields": [NAMED]}], True),
        ([{"matchFields": [_expression("metadata.name", "In", "n2")]}], False),
        ([{"matchFields": [_expression("metadata.name", "NotIn", "n2")]}], True),
        ([{"matchFields": [NAMED], "matchExpressions": [OTHER]}], False),
        ([{"matchFields": [_expression("zone", "In", "a")]}], False),
        ([{}], False),
        ([{"matchExpressions": None, "matchFields": []}], False),
        ([], False),
    ],
)
def test_one_term_of_a_node_affinity_must_match_in_full(
    terms: list[dict[str, Any]], selected: bool
) -> None:
    assert _required(*terms).selects("n1", LABELS) is selected


@pytest.mark.parametrize(
    ("spec", "selected"),
    [
        ({}, True),
        ({"nodeSelector": None, "affinity": None}, True),
        ({"nodeSelector": {"zone": "a", "big": "yes"}}, True),
        ({"nodeSelector": {"zone": "a", "big": "no"}}, False),
        ({"nodeSelector": {"none": ""}}, False),
        ({"nodeSelector": {"empty": ""}}, True),
        ({"affinity": {"nodeAffinity": {}}}, True),
        ({"affinity": {"podAntiAffinity": {}}}, True),
    ],
)
def test_node_selector_selects_by_all_of_its_labels(spec: dict[str, Any], selected: bool) -> None:
    assert _placement(**spec).selects("n1", LABELS) is selected


def test_node_selector_and_affinity_both_count() -> None:
    found = _required({"matchExpressions": [ZONE]})
    both = msgspec.structs.replace(found, node_selector={"big": "no"})
    assert not both.selects("n1", LABELS)


TAINT = Taint("only", "web", "NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "only", "value": "web"}, True),
        ({"key": "only", "operator": "Equal", "value": "web", "effect": "NoSchedule"}, True),
        ({"key": "only", "value": "db"}, False),
        ({"key": "only"}, False),
        ({"key": "only", "operator": "Exists"}, True),
        ({"key": "only", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "only", "operator": "Exists", "effect": ""}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({"operator": "Equal"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_toleration_tolerates_a_taint(toleration: dict[str, Any], tolerated: bool) -> None:
    assert _placement(tolerations=[toleration]).tolerates([TAINT]) is tolerated


def test_taint_without_a_value_is_tolerated_by_its_key_alone() -> None:
    for taint in (Taint("only", None, "NoExecute"), Taint("only", "", "NoExecute")):
        assert _placement(tolerations=[{"key": "only"}]).tolerates([taint])


@pytest.mark.parametrize(
    ("taints", "known", "tolerated"),
    [
        ([], (), True),
        ([TAINT, Taint("other", None, "NoSchedule")], (), False),
        ([TAINT, Taint("other", None, "PreferNoSchedule")], (), True),
        ([TAINT, Taint("other", None, "NoExecute")], (), False),
        ([TAINT, Taint("other", None, "NoExecute")], ("other",), True),
    ],
)
def test_all_binding_taints_must_be_tolerated(
    taints: list[Taint], known: tuple[str, ...], tolerated: bool
) -> None:
    found = _placement(tolerations=[{"key": "only", "operator": "Exists"}])
    assert found.tolerates(taints, known) is tolerated


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"zone": "a"}}, True),
        ({"matchLabels": {"zone": "b"}}, False),
        ({"matchLabels": {"zone": "a"}, "matchExpressions": [OTHER]}, False),
        ({"matchExpressions": [ZONE, BIG]}, True),
    ],
)
def test_label_selector_matches_all_of_its_parts(selector: dict[str, Any], selected: bool) -> None:
    assert msgspec.convert(selector, LabelSelector).matches(LABELS) is selected


def test_required_anti_affinity_is_read_and_the_preferred_one_is_not() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    [found] = _placement(affinity={"podAntiAffinity": required}).apart
    assert (found.topology_key, found.namespaces) == ("zone", None)
    preferred = {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]
    }
    assert _placement(affinity={"podAntiAffinity": preferred}).apart == ()
