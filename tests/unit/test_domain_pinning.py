"""ConfigMaps as part of a revision: what is read, what it hashes to, what is planned about it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.config.hashing import find_revision, is_made_of, revision_hash
from immutable_operator.domain.config.references import (
    config_author,
    config_change,
    config_kinds,
    config_read,
    config_references,
    content_digest,
    pinned,
    with_snapshots,
)
from immutable_operator.domain.config.snapshots import read_config
from immutable_operator.domain.model import (
    ABSENT,
    CONFIG_MAP,
    Cause,
    Command,
    Create,
    CreateRevision,
    CreateSnapshot,
    Freeze,
    Instance,
    Move,
    Pin,
    Plan,
    Refusal,
    Request,
    Retire,
    Revision,
    Source,
    Status,
    Verdict,
    View,
    instance_name,
    revision_id,
    revision_name,
    snapshot_name,
)
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, SERVICE, UID, begun, condition, proven, template, view

SETTINGS = ("ConfigMap", "settings")
OLD, NEW = content_digest({"mode": "old"}, {}), content_digest({"mode": "new"}, {})

READER: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "volumes": [
            {"name": "v", "configMap": {"name": "volume", "items": [{"key": "a", "path": "a"}]}},
            {"name": "s", "secret": {"secretName": "volume"}},
            {
                "name": "p",
                "projected": {
                    "defaultMode": 420,
                    "sources": [
                        {"configMap": {"name": "projected"}},
                        {"configMap": {"name": "kube-root-ca.crt"}},
                        {"secret": {"name": "projected"}},
                        {"serviceAccountToken": {"path": "token"}},
                    ],
                },
            },
            {"name": "e", "emptyDir": {}},
        ],
        "initContainers": [
            {"name": "i", "envFrom": [{"prefix": "A_", "configMapRef": {"name": "init"}}]}
        ],
        "containers": [
            {
                "name": "web",
                "env": [
                    {"name": "A", "value": "volume"},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "b"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "env", "key": "b"}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "envFrom": [
                    {"configMapRef": {"name": "maybe", "optional": True}},
                    {"configMapRef": {"name": "init", "optional": True}},
                    {"secretRef": {"name": "init"}},
                ],
            }
        ],
    },
}
ALL = {
    ("ConfigMap", name): name == "maybe" for name in ("env", "init", "maybe", "projected", "volume")
}
ROOT_CA = ("ConfigMap", "kube-root-ca.crt")
SECRETS = {("Secret", name): False for name in ("env", "init", "projected", "volume")}


def test_every_reference_to_a_config_map_is_found() -> None:
    assert config_read(READER) == {**ALL, ROOT_CA: False, **SECRETS}
    assert ("ConfigMap", "maybe") not in config_references(READER)
    assert ("Secret", "volume") in config_references(READER)
    assert config_read({}) == {}


def test_pinned_references_follow_the_mode() -> None:
    both = {**ALL, **SECRETS}
    assert pinned(READER, "Pinned", []) == both, "all but what the cluster renews"
    assert pinned(READER, "Pinned", ["env", "unknown"]).keys() == both.keys() - {
        ("ConfigMap", "env"),
        ("Secret", "env"),
    }
    assert pinned(READER, "Live", []) == {}


def test_references_are_rewritten_to_their_copies() -> None:
    before = copy.deepcopy(READER)
    turned = with_snapshots(READER, [Pin(name, f"{name}-copy", OLD) for _, name in ALL])
    assert before == READER, "the template itself is untouched"
    assert config_read(turned) == {
        **{(kind, f"{name}-copy"): optional for (kind, name), optional in ALL.items()},
        ROOT_CA: False,
        **SECRETS,
    }
    # Turned back it is what it was: nothing else changed.
    assert with_snapshots(turned, [Pin(f"{name}-copy", name, OLD) for _, name in ALL]) == before
    assert with_snapshots(READER, []) is READER


def test_secret_of_the_same_name_is_another_object() -> None:
    """The template reads the ConfigMap `x` and the Secret `x` in every possible way."""
    both = {"metadata": {}, "spec": {"containers": [{"name": "web", "envFrom": []}]}}
    reads: Any = both["spec"]["containers"][0]["envFrom"]
    reads += [{"configMapRef": {"name": "x"}}, {"secretRef": {"name": "x", "optional": True}}]
    config, secret = ("ConfigMap", "x"), ("Secret", "x")
    assert config_read(both) == {config: False, secret: True}
    assert pinned(both, "Pinned", []) == {config: False, secret: True}
    names = {key: snapshot_name(SERVICE, UID, "0a1b2c3d", key) for key in (config, secret)}
    pair = [Pin("x", names[key], OLD, kind=key[0]) for key in (config, secret)]
    for given in ([], pair[:1], pair[1:], pair):
        turned: Any = with_snapshots(both, given)
        one, other = turned["spec"]["containers"][0]["envFrom"]
        assert one["configMapRef"]["name"] == (names[config] if pair[0] in given else "x")
        assert other["secretRef"]["name"] == (names[secret] if pair[1] in given else "x")
    record = Revision("0a1b2c3d", 1, "v3:0", "web-im0a1b2c3d", "uid", tuple(pair))
    assert record.digests == {config: OLD, secret: OLD}
    known = {config: Source(OLD), secret: Source(ABSENT)}
    assert read_config({config: False, secret: False}, known).digests == {config: OLD}
    [lacking] = read_config({config: False, secret: False}, known).lacking
    assert lacking.subject == "secret/x"
    assert lacking.message.startswith("Secret x not found")
    [lacking] = read_config(
        {secret: False, config: False}, {key: Source(ABSENT) for key in known}
    ).lacking
    assert lacking.message.startswith("ConfigMap x (and Secret x) not found")


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert content_digest({"a": "1", "b": "2"}, {}) == content_digest({"b": "2", "a": "1"}, {})
    contents: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"a": "1"}, {}),
        ({}, {"a": "MQ=="}),
        ({"a": "MQ=="}, {}),
        ({"a": ""}, {}),
        ({"a": "1", "b": ""}, {}),
        ({"a": '1","b":"'}, {}),
        ({"a": "ü"}, {}),
        ({"a": "u\u0308"}, {}),
    ]
    digests = {content_digest(*content) for content in contents}
    assert len(digests) == len(contents)
    assert all(len(digest) == 71 for digest in digests)
    assert content_digest({"a": "\ud800"}, {}) not in digests


def test_revision_hash_covers_template_and_config_content() -> None:
    made = template("A")
    hashes = [
        revision_hash(made),
        *(revision_hash(made, config={SETTINGS: d}) for d in (OLD, NEW, ABSENT)),
        revision_hash(made, config={("ConfigMap", "other"): OLD}),
        revision_hash(template("B"), config={SETTINGS: OLD}),
    ]
    assert len(set(hashes)) == len(hashes)
    assert revision_hash(made, config={("Secret", "settings"): OLD}) not in hashes


def recorded(digest: str, number: int, letter: str = "A") -> Revision:
    config = {SETTINGS: digest}
    full = revision_hash(template(letter), config=config)
    short = revision_id(full, ())
    pin = Pin("settings", snapshot_name(SERVICE, UID, short, SETTINGS), digest)
    name = revision_name(SERVICE, short)
    return Revision(short, number, full, name, f"uid-r{number}", (pin,))


FIRST, SECOND = recorded(OLD, 1), recorded(NEW, 2)


def test_revision_is_found_by_its_pinned_digests() -> None:
    plain = Revision("00000000", 3, revision_hash(template("A")), "web-im00000000", "uid")
    known = (FIRST, SECOND, plain)
    assert find_revision(template("A"), known, {SETTINGS: OLD}) == FIRST
    assert find_revision(template("A"), known, {SETTINGS: NEW}) == SECOND
    assert find_revision(template("A"), known, {SETTINGS: ABSENT}) is None
    assert find_revision(template("A"), known) == plain
    assert is_made_of(FIRST, template("A"))
    assert not is_made_of(FIRST, template("B"))


def test_copy_names_are_unique_and_fit() -> None:
    names = {
        snapshot_name("w" * 45, uid, revision, (kind, source))
        for uid in ("u1", "u2")
        for revision in ("00000000", "11111111")
        for kind in ("ConfigMap", "Secret")
        for source in ("a", "b")
    }
    assert len(names) == 16
    assert max(map(len, names)) <= 63


def test_changed_config_maps_are_named() -> None:
    a, b, c = (("ConfigMap", name) for name in "abc")
    assert config_change({a: OLD, b: OLD}, {a: NEW, b: OLD}) == "ConfigMap a changed"
    said = config_change({a: OLD, c: OLD}, {a: NEW, b: OLD})
    assert said == (
        "ConfigMap a changed, ConfigMap b is pinned now, ConfigMap c is no longer pinned"
    )
    assert config_change({a: OLD}, {a: OLD}) == ""
    secret = ("Secret", "a")
    assert config_change({a: OLD, secret: OLD}, {a: OLD, secret: NEW}) == "Secret a changed"


# Plans: a service of one instance that reads the ConfigMap `settings`.


def instance(of: Revision, slot: int = 0) -> Instance:
    name = instance_name(SERVICE, UID, of.id, slot, 0)
    return Instance(name, "uid-i", of.id, slot, 0, NOW - 5000, ready_since=NOW - 1000)


def service(
    *revisions: Revision,
    says: str | None,
    copies: tuple[Revision, ...] = (),
    running: Revision | None = None,
    problem: str = "",
    **more: Any,
) -> View:
    """``says`` is the present digest, None what is being read (or cannot be, for a ``problem``)."""
    good = running.id if running else None
    prior = Status(desired=1, current_revision=good, last_good_revision=good)
    spec = more.pop("spec", {})
    optional = more.pop("optional", False)
    given = view(
        instances=[instance(running)] if running else [],
        prior=prior,
        replicas=1,
        pinned={SETTINGS: optional},
        **spec,
    )
    known = {SETTINGS: Source(says, problem, author="kubectl-edit")} if says or problem else {}
    there = frozenset(pin.snapshot for r in copies for pin in r.config)
    marked = tuple(_marked(r, was_good=r == running) for r in revisions)
    return replace(given, revisions=marked, configs=known, snapshots=there, **more)


def _marked(revision: Revision, *, was_good: bool) -> Revision:
    verdict = proven("A").verdict if was_good else begun("A").verdict
    return replace(revision, verdict=verdict)


def kinds(decided: Plan) -> list[str]:
    return [type(action).__name__ for action in decided.actions]


def test_unread_config_map_plans_nothing() -> None:
    for given in (service(says=None), service(FIRST, says=None, copies=(FIRST,), running=FIRST)):
        decided = plan(given, NOW)
        assert not decided.actions
        assert decided.status is None
        assert decided.due is None, "it is asked again when it is read"
        assert decided.notes == ("ConfigMap settings is being read",)


def test_revision_that_never_worked_does_not_grow_while_configuration_is_read() -> None:
    """The spec may ask for another one: which, is known when its ConfigMap is read."""
    unproven = service(FIRST, says=None, copies=(FIRST,))
    assert not plan(unproven, NOW).actions
    worked = replace(unproven, revisions=(_marked(FIRST, was_good=True),))
    assert kinds(plan(worked, NOW)) == ["Create"], "what was lost of it is made good"


def test_record_precedes_copy_and_copy_precedes_birth() -> None:
    [record] = plan(service(says=OLD), NOW).actions
    assert isinstance(record, CreateRevision)
    assert record.config == FIRST.config
    assert record.reason == "Created"
    [copied] = plan(service(FIRST, says=OLD), NOW).actions
    assert isinstance(copied, CreateSnapshot)
    assert (copied.pin, copied.revision.id) == (FIRST.config[0], FIRST.id)
    [birth] = plan(service(FIRST, says=OLD, copies=(FIRST,)), NOW).actions
    assert isinstance(birth, Create)
    assert birth.revision == FIRST.id


def test_number_of_a_record_that_may_still_be_written_is_not_given_again() -> None:
    """Its request may arrive late, long after it was given up."""
    given = service(FIRST, says=NEW, copies=(FIRST,), running=FIRST)
    [record] = plan(given, NOW).actions
    assert isinstance(record, CreateRevision)
    assert record.number == 2
    [other] = plan(replace(given, sent_numbers={"0ther000": 2}), NOW).actions
    assert isinstance(other, CreateRevision)
    assert other.number == 3
    [again] = plan(replace(given, sent_numbers={record.id: 2}), NOW).actions
    assert again == record, "its own number it keeps"


def test_changed_config_map_is_a_new_revision_with_its_cause() -> None:
    decided = plan(service(FIRST, says=NEW, copies=(FIRST,), running=FIRST), NOW)
    [record] = decided.actions
    assert isinstance(record, CreateRevision)
    assert record.reason == "ConfigChanged"
    [told] = decided.announcements
    assert told.message.endswith(
        "ConfigChanged (ConfigMap settings changed), ConfigMap written by kubectl-edit"
    )
    assert record.author == "kubectl-edit", "not who wrote the template"
    later = service(FIRST, SECOND, says=NEW, copies=(FIRST, SECOND), running=FIRST)
    [birth] = plan(later, NOW).actions
    assert isinstance(birth, Create)
    assert birth.because.cause.endswith(f"revision {FIRST.id}: ConfigMap settings changed")


def test_changed_template_is_the_cause_when_a_config_map_changed_too() -> None:
    given = service(recorded(OLD, 1, "B"), says=NEW)
    [record] = plan(given, NOW).actions
    assert isinstance(record, CreateRevision)
    assert record.reason == "TemplateChanged"
    assert record.author == given.author == "kubectl"


@pytest.mark.parametrize(
    ("old", "new", "by"),
    [
        pytest.param({"a": OLD, "b": OLD}, {"a": NEW, "b": OLD}, "ann", id="one of two"),
        pytest.param({"a": OLD, "b": OLD}, {"a": NEW, "b": NEW}, "ann, bob", id="both"),
        pytest.param({"a": OLD, "z": OLD}, {"a": NEW, "z": ABSENT}, "ann", id="one is gone"),
        pytest.param({"z": OLD}, {"z": ABSENT}, "unknown", id="the only one is gone"),
        pytest.param({"a": OLD, "b": OLD}, {"a": OLD}, "kubectl", id="pinned no longer"),
        pytest.param({}, {"a": OLD}, "kubectl", id="pinned now"),
    ],
)
def test_author_of_a_config_change_is_named(
    old: dict[str, str], new: dict[str, str], by: str
) -> None:
    authors = {"a": "ann", "b": "bob", "z": ""}

    def keyed(known: dict[str, str]) -> dict[tuple[str, str], str]:
        return {(CONFIG_MAP, name): what for name, what in known.items()}

    assert config_author(keyed(old), keyed(new), keyed(authors), "kubectl") == by


def test_restored_content_is_the_earlier_revision() -> None:
    given = service(FIRST, SECOND, says=OLD, copies=(FIRST, SECOND), running=SECOND)
    assert [a.revision for a in plan(given, NOW).actions if isinstance(a, Create)] == [FIRST.id]


FROZEN = Freeze("all", "closing", ends=NOW + 600)


@pytest.mark.parametrize("held", ["frozen", "suspended"])
def test_frozen_or_suspended_service_ignores_a_changed_config_map(held: str) -> None:
    more: dict[str, Any] = {"freezes": (FROZEN,)} if held == "frozen" else {}
    suspend = {"suspend": held == "suspended"}
    running = service(FIRST, says=NEW, copies=(FIRST,), running=FIRST, spec=suspend, **more)
    assert not plan(running, NOW).actions
    lost = replace(running, instances=())
    births = [a.revision for a in plan(lost, NOW).actions if isinstance(a, Create)]
    assert births == ([FIRST.id] if held == "frozen" else [])


def test_missing_config_map_is_named_and_nothing_is_recorded() -> None:
    decided = plan(service(says=ABSENT), NOW)
    assert not decided.actions
    assert condition(decided.status) == "Stalled ConfigMissing"
    assert decided.status is not None
    [blocker] = decided.status.blockers
    assert blocker.subject == "configmap/settings"
    assert "create it, or make the reference optional" in blocker.message
    [told] = decided.announcements
    assert told.reason == "Stalled"
    again = plan(replace(service(says=ABSENT), prior=decided.status), NOW + 60)
    assert again.status == decided.status
    assert not again.announcements


def test_missing_config_map_holds_the_wanted_revision_and_repairs_the_running_one() -> None:
    given = service(FIRST, says=ABSENT, copies=(FIRST,), running=FIRST)
    decided = plan(given, NOW)
    assert not decided.actions
    assert condition(decided.status) == "Stalled ConfigMissing"
    lost = plan(replace(given, instances=()), NOW)
    assert [a.revision for a in lost.actions if isinstance(a, Create)] == [FIRST.id]
    back = service(FIRST, says=OLD, copies=(FIRST,), running=FIRST)
    assert condition(plan(back, NOW).status) == "Ready Current"


def test_optional_config_map_may_be_missing() -> None:
    [record] = plan(service(says=ABSENT, optional=True), NOW).actions
    assert isinstance(record, CreateRevision)
    assert [pin.digest for pin in record.config] == [ABSENT]
    absent = recorded(ABSENT, 1)
    [birth] = plan(service(absent, says=ABSENT, optional=True), NOW).actions
    assert isinstance(birth, Create), "there is nothing to copy"


def test_unreadable_config_map_blocks_without_stalling() -> None:
    given = service(FIRST, says=None, problem="no answer", copies=(FIRST,), running=FIRST)
    decided = plan(given, NOW)
    assert not decided.actions
    assert decided.status is not None
    assert [b.reason for b in decided.status.blockers] == ["ConfigUnreadable"]
    assert condition(decided.status).startswith("Reconciling")
    birth = plan(service(says=None, problem="no answer"), NOW)
    assert condition(birth.status) == "Reconciling ConfigUnreadable"


def test_deleted_copy_is_recreated_while_its_source_is_unchanged() -> None:
    assert kinds(plan(service(FIRST, says=OLD, running=FIRST), NOW)) == ["CreateSnapshot"]


def test_suspended_service_creates_no_config_copy() -> None:
    given = service(FIRST, says=OLD, running=FIRST, spec={"suspend": True})
    assert plan(given, NOW).actions == ()


def test_lost_copy_is_reported_and_retires_no_instance() -> None:
    tainted = replace(instance(FIRST), taint="exec by jane")
    given = service(FIRST, says=NEW, running=FIRST, freezes=(FROZEN,), spec={"max_unavailable": 1})
    decided = plan(replace(given, instances=(tainted,)), NOW)
    assert not [a for a in decided.actions if isinstance(a, Create | Retire)]
    assert condition(decided.status) == "Stalled SnapshotLost"
    assert decided.status is not None
    said = decided.status.blockers[1].message
    assert f"the copy of ConfigMap settings for revision 1 ({FIRST.id})" in said
    # The freeze over, the present content rolls out.
    assert kinds(plan(replace(given, freezes=()), NOW)) == ["CreateRevision"]


def test_refused_copy_waits_and_is_reported() -> None:
    name = FIRST.config[0].snapshot
    no = Refusal(Move.SNAPSHOT, name, Cause.QUOTA, "exceeded quota", NOW - 9, NOW + 5)
    decided = plan(service(FIRST, says=OLD, refusals=(no,)), NOW)
    assert not decided.actions
    assert decided.due == NOW + 5
    assert condition(decided.status) == "Stalled QuotaExceeded"
    assert decided.status is not None
    assert decided.status.blockers[0].subject == f"configmap/{name}"
    assert kinds(plan(service(FIRST, says=OLD, refusals=(no,)), NOW + 5)) == ["CreateSnapshot"]


def test_converged_service_plans_nothing() -> None:
    given = service(FIRST, says=OLD, copies=(FIRST,), running=FIRST)
    decided = plan(given, NOW)
    assert not decided.actions
    assert condition(decided.status) == "Ready Current"


def test_change_names_only_the_kinds_of_what_changed() -> None:
    config, secret = ("ConfigMap", "a"), ("Secret", "a")
    before = {config: OLD, secret: OLD}
    assert config_kinds(before, {config: NEW, secret: OLD}) == "ConfigMap"
    assert config_kinds(before, {config: OLD, secret: NEW}) == "Secret"
    assert config_kinds(before, {}) == "ConfigMap and Secret"


def test_new_revision_is_compared_with_the_newest_one_where_none_runs() -> None:
    """As after a backup without the statuses of records was restored."""
    other = recorded(OLD, 2, "B")
    for records in ((FIRST, other), (other, FIRST)):
        lost = tuple(replace(r, verdict=Verdict()) for r in records)
        given = replace(service(says=NEW), revisions=lost)
        [record] = [a for a in plan(given, NOW).actions if isinstance(a, CreateRevision)]
        assert record.reason == "TemplateChanged"


def test_rollback_to_a_revision_whose_copy_is_lost_fails_and_names_it() -> None:
    given = service(FIRST, SECOND, says=NEW, copies=(SECOND,), running=SECOND)
    both = tuple(_marked(r, was_good=True) for r in given.revisions)
    back = Request("back", "u1", NOW, "jane", command=Command.ROLL_BACK, revision=FIRST.id)
    [outcome] = plan(replace(given, revisions=both, requests=(back,)), NOW).outcomes
    assert outcome.phase == "Failed"
    assert FIRST.config[0].snapshot in outcome.message
