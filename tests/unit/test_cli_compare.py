"""`kubectl immutable diff`: what differs in effect, shown as it is written, and no Secret ever."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from immutable_operator.cli.change import Change, coloured, unified
from immutable_operator.cli.compare import compared
from immutable_operator.cli.compare_config import Pinned, compared_config, is_same
from immutable_operator.cli.contents import Held
from immutable_operator.domain.config.canonical import canonical
from immutable_operator.domain.config.nodes import canonical_node
from immutable_operator.domain.model import ABSENT, CONFIG_MAP, SECRET

SETTINGS, TLS = (CONFIG_MAP, "settings"), (SECRET, "tls")
OLD, NEW = Pinned("web-cfg1", "sha256:1"), Pinned("web-cfg2", "sha256:2")
PASSWORDS = ("hunter2", "correct horse")


def pod(**container: Any) -> dict[str, Any]:
    """A pod template with one container named web."""
    return {"spec": {"containers": [{"name": "web", "image": "web@sha256:1", **container}]}}


def shown(old: Any, new: Any) -> list[tuple[str, list[str], list[str]]]:
    changes = compared("template", old, new, canonical)
    return [(change.where, [*change.old], [*change.new]) for change in changes]


def secret(**values: str) -> Held:
    return Held(binary={k: base64.b64encode(v.encode()).decode() for k, v in values.items()})


@pytest.mark.parametrize(
    ("old", "new", "path", "lines"),
    [
        ({"image": "a"}, {"image": "b"}, ".image", (["a"], ["b"])),
        ({}, {"tty": True}, ".tty", ([], ["true"])),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "x"}]},
            {"env": [{"name": "A", "value": "2"}, {"name": "B", "value": "x"}]},
            ".env[A].value",
            (['"1"'], ['"2"']),
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}]},
            {"volumeMounts": [{"name": "w", "mountPath": "/a"}]},
            ".volumeMounts[mountPath=/a].name",
            (["v"], ["w"]),
        ),
        (
            {"args": ["serve", "--fast"]},
            {"args": ["serve", "--slow"]},
            ".args",
            (["- serve", "- --fast"], ["- serve", "- --slow"]),
        ),
        (
            {"env": [{"name": "A", "value": "x"}, {"name": "B", "value": "y"}]},
            {"env": [{"name": "B", "value": "y"}, {"name": "A", "value": "x"}]},
            ".env (order)",
            (["- A", "- B"], ["- B", "- A"]),
        ),
    ],
)
def test_changed_field_is_shown_with_its_path(
    old: dict[str, Any], new: dict[str, Any], path: str, lines: tuple[list[str], list[str]]
) -> None:
    assert shown(pod(**old), pod(**new)) == [(f"template.spec.containers[web]{path}", *lines)]


def test_added_container_is_shown_as_a_whole() -> None:
    old = pod()
    new = pod()
    new["spec"]["containers"].append({"name": "proxy", "image": "proxy@sha256:2"})
    where = "template.spec.containers[proxy]"
    assert shown(old, new) == [(where, [], ["name: proxy", "image: proxy@sha256:2"])]


def test_key_with_other_characters_is_quoted() -> None:
    [(where, _, _)] = shown(
        {"metadata": {"labels": {"a.b/c": "1"}}}, {"metadata": {"labels": {"a.b/c": "2"}}}
    )
    assert where == "template.metadata.labels['a.b/c']"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"resources": {"limits": {"cpu": 0.5}}}, {"resources": {"limits": {"cpu": "500m"}}}),
        ({"ports": [{"containerPort": 80}]}, {"ports": [{"containerPort": 80, "protocol": "TCP"}]}),
        ({"env": []}, {}),
    ],
)
def test_another_spelling_of_the_same_pods_is_no_difference(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert shown(pod(**one), pod(**other)) == []


def test_values_are_shown_as_they_are_written() -> None:
    old = pod(resources={"requests": {"memory": "128Mi"}})
    new = pod(resources={"requests": {"memory": "1Gi"}})
    [(_, before, after)] = shown(old, new)
    assert (before, after) == (["128Mi"], ["1Gi"])


def test_nodes_are_compared_without_the_order_of_taints() -> None:
    taints = [{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}]
    old = {"image": {"id": "one"}, "template": {"taints": taints}}
    new = {"image": {"id": "two"}, "template": {"taints": taints[::-1]}}
    assert compared("node", old, new, canonical_node) == [Change("node.image.id", ["one"], ["two"])]


def test_config_map_is_compared_key_by_key() -> None:
    held = (Held({"a": "1", "b": "x\ny\nz"}), Held({"b": "x\nY\nz", "c": "3"}))
    changes, problem = compared_config(SETTINGS, OLD, NEW, held)
    assert problem == ""
    assert unified("old", "new", changes) == [
        *("--- old", "+++ new"),
        *("@@ -1 +0,0 @@ ConfigMap settings: a", "-1"),
        *("@@ -1,3 +1,3 @@ ConfigMap settings: b", " x", "-y", "+Y", " z"),
        *("@@ -0,0 +1 @@ ConfigMap settings: c", "+3"),
    ]


def test_line_break_at_the_end_is_shown_only_if_it_differs() -> None:
    held = (Held({"a": "1\n", "b": "x"}), Held({"a": "2\n", "b": "x\n"}))
    first, second = compared_config(SETTINGS, OLD, NEW, held)[0]
    assert (first.old, first.new) == (["1"], ["2"])
    assert (second.old, second.new) == (["x"], ["x", ""])


def test_binary_data_is_shown_by_size_and_digest() -> None:
    held = (secret(file="\x00"), secret(file="\x00\x01"))
    [change], _ = compared_config(SETTINGS, OLD, NEW, held)
    assert change.old[0].startswith("binary data, 1 bytes, sha256:")
    assert change.new[0].startswith("binary data, 2 bytes, sha256:")


def test_object_that_only_one_side_pins_is_named() -> None:
    changes, _ = compared_config(SETTINGS, None, NEW, (Held(), Held({"a": "1"})))
    assert changes == [
        Change("ConfigMap settings", ["not part of the revision"], ["part of the revision"]),
        Change("ConfigMap settings: a", [], ["1"]),
    ]
    absent = Pinned("", ABSENT)
    gone = Held(problem="it does not exist", is_there=False)
    [change], problem = compared_config(SETTINGS, OLD, absent, (Held(), gone))
    assert change.new == ["part of the revision, does not exist"]
    assert problem == ""


def test_copy_that_cannot_be_read_is_compared_by_digest() -> None:
    lost = Held(problem="ConfigMap web-cfg1 does not exist", is_there=False)
    changes, problem = compared_config(SETTINGS, OLD, NEW, (lost, Held({"a": "1"})))
    assert changes == [Change("ConfigMap settings", ["digest sha256:1"], ["digest sha256:2"])]
    assert problem == (
        "ConfigMap settings cannot be compared key by key: ConfigMap web-cfg1 does not exist"
    )


def test_secret_shows_which_keys_differ_and_no_value() -> None:
    old = secret(password=PASSWORDS[0], same="kept", gone=PASSWORDS[0])
    new = secret(password=PASSWORDS[1], same="kept", added=PASSWORDS[1])
    changes, _ = compared_config(TLS, OLD, NEW, (old, new))
    text = "\n".join(unified("old", "new", changes))
    assert [change.where for change in changes] == [
        f"Secret tls: {key}" for key in ("added", "gone", "password")
    ]
    for value in (*old.binary.values(), *new.binary.values(), *PASSWORDS):
        assert value not in text
        assert value not in repr((old, new))


def test_digests_are_the_same_only_if_both_are_known() -> None:
    assert is_same(OLD, Pinned("other", "sha256:1"))
    assert not is_same(OLD, NEW)
    assert not is_same(Pinned("a"), Pinned("b"))
    assert is_same(None, None)
    assert not is_same(None, OLD)


def test_control_characters_do_not_reach_the_terminal() -> None:
    lines = unified("a\n", "b", [Change("key\x1b[2J", ["\x1b[31mred\r"], ["\tok"])])
    assert not any(c in line for line in lines for c in "\x1b\r\n")
    assert "-\\x1b[31mred\\r" in lines
    assert "+\tok" in lines


def test_colours_mark_titles_and_lines() -> None:
    lines = coloured(["--- old", "+++ new", "@@ -1 +1 @@ x", "--- content", "+b", " c"])
    assert [line[:5] for line in lines] == [
        *("\033[1m-", "\033[1m+", "\033[36m", "\033[31m", "\033[32m", " c"),
    ]
    assert lines[3] == "\033[31m--- content\033[0m"
