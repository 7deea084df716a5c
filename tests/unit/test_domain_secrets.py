"""Secrets as part of a revision: digests under a key, what a grant changes, and a lost key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from immutable_operator.domain.config.hashing import revision_hash
from immutable_operator.domain.config.keyed import KEY_BYTES, DigestKey, key_of
from immutable_operator.domain.config.references import config_change, pinned
from immutable_operator.domain.model import (
    ABSENT,
    SECRET,
    Create,
    CreateRevision,
    CreateSnapshot,
    Instance,
    Phase,
    Pin,
    Plan,
    Revision,
    Source,
    Verdict,
    View,
    instance_name,
    revision_id,
    revision_name,
    snapshot_name,
)
from immutable_operator.domain.planner import plan
from tests.unit.given import NOW, SERVICE, UID, condition, template, view

KEY, OTHER_KEY = DigestKey(b"a" * KEY_BYTES), DigestKey(b"b" * KEY_BYTES)
DB = (SECRET, "db")
OLD = KEY.digest("shop", "db", {"password": "b2xk"})
NEW = KEY.digest("shop", "db", {"password": "bmV3"})
OLD_OTHER_KEY = OTHER_KEY.digest("shop", "db", {"password": "b2xk"})
NEW_OTHER_KEY = OTHER_KEY.digest("shop", "db", {"password": "bmV3"})
GOOD = Verdict(
    Phase.GOOD,
    reason="Completed",
    started=NOW - 4010,
    first_available=NOW - 4005,
    completed=NOW - 4000,
    number_floor=1,
)


# Digests.


def test_digest_says_by_which_key_it_was_made_and_hides_key_and_value() -> None:
    assert OLD.startswith(f"hmac-sha256:{KEY.id}:")
    assert key_of(OLD) == KEY.id != key_of(OLD_OTHER_KEY) == OTHER_KEY.id
    assert key_of("sha256:" + "0" * 64) == key_of(ABSENT) == ""
    assert KEY.secret.decode() not in repr(KEY)
    assert len(OLD) <= 93, "the limit in the CRD"


def test_digest_depends_on_key_secret_and_content() -> None:
    data = {"password": "b2xk"}
    made = [
        KEY.digest("shop", "db", data),
        OTHER_KEY.digest("shop", "db", data),
        KEY.digest("shop", "other", data),
        KEY.digest("test", "db", data),
        KEY.digest("shop", "db", {"password": "bmV3"}),
        KEY.digest("shop", "db", {"user": "b2xk"}),
        KEY.digest("shop", "db", {}),
    ]
    assert len(set(made)) == len(made)
    assert KEY.digest("shop", "db", dict(reversed({"a": "1", "b": "2"}.items()))) == KEY.digest(
        "shop", "db", {"a": "1", "b": "2"}
    )


def test_key_has_a_fixed_length() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DigestKey(b"short")


def test_credentials_of_the_kubelet_and_of_drivers_are_not_pinned() -> None:
    driver = {"driver": "csi.example", "nodePublishSecretRef": {"name": "csi"}}
    spec = {
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "v", "csi": driver}, {"name": "s", "secret": {"secretName": "db"}}],
        "containers": [],
    }
    assert pinned({"spec": spec}, "Pinned", []) == {DB: False}


# Plans: a service of one instance that reads the Secret `db`.


def recorded(digest: str | None, number: int, letter: str = "A", began: bool = True) -> Revision:
    """A revision that pins the Secret; None: that reads it live."""
    digests = {} if digest is None else {DB: digest}
    full = revision_hash(template(letter), config=digests)
    short = revision_id(full, ())
    pins = tuple(
        Pin(name, snapshot_name(SERVICE, UID, short, (kind, name)), found, kind)
        for (kind, name), found in digests.items()
    )
    verdict = replace(GOOD, started=NOW - 4010 + number) if began else Verdict()
    name = revision_name(SERVICE, short)
    return Revision(short, number, full, name, f"uid-{number}", pins, verdict)


def given(
    *revisions: Revision,
    says: Source | None = None,
    running: Revision | None = None,
    withheld: bool = False,
    copies: bool = True,
    **more: Any,
) -> View:
    """``says`` is what is known of the Secret; ``withheld``: the namespace is not granted."""
    instances = []
    if running:
        name = instance_name(SERVICE, UID, running.id, 0, 0)
        born = NOW - 5000
        instances = [Instance(name, "uid-i", running.id, 0, 0, born, ready_since=NOW - 1000)]
    made = view(instances=instances, replicas=1, pinned={} if withheld else {DB: False})
    there = frozenset(pin.snapshot for r in revisions for pin in r.config) if copies else ()
    return replace(
        made,
        revisions=revisions,
        configs={DB: says} if says else {},
        snapshots=frozenset(there),
        withheld=frozenset({DB}) if withheld else frozenset(),
        **more,
    )


def the_record(decided: Plan) -> CreateRevision:
    [record] = [a for a in decided.actions if isinstance(a, CreateRevision)]
    return record


def live(decided: Plan) -> tuple[str, ...]:
    assert decided.status is not None
    return decided.status.live_secrets


def is_settled(decided: Plan) -> bool:
    return not decided.actions and condition(decided.status) == "Ready Current"


LIVE, PINNED = recorded(None, 1), recorded(OLD, 1)


def test_rotated_secret_is_a_new_revision_with_its_cause() -> None:
    decided = plan(given(PINNED, says=Source(NEW, author="vault"), running=PINNED), NOW)
    record = the_record(decided)
    assert (record.reason, record.author) == ("ConfigChanged", "vault")
    assert [(pin.kind, pin.name, pin.digest) for pin in record.config] == [(*DB, NEW)]
    [told] = decided.announcements
    assert told.message.endswith("ConfigChanged (Secret db changed), Secret written by vault")


def test_secret_of_a_namespace_without_grant_is_read_live_and_the_status_says_so() -> None:
    first = the_record(plan(given(withheld=True), NOW))
    assert first.config == ()
    assert first.hash == LIVE.hash, "as if nothing were pinned"
    decided = plan(given(LIVE, running=LIVE, withheld=True), NOW)
    assert is_settled(decided)
    assert live(decided) == ("db",)


def test_grant_replaces_nothing_and_the_next_revision_pins() -> None:
    decided = plan(given(LIVE, says=Source(OLD), running=LIVE), NOW)
    assert is_settled(decided)
    assert live(decided) == ("db",), "until the next revision"
    changed = replace(given(LIVE, says=Source(OLD), running=LIVE).spec, template=template("B"))
    following = plan(replace(given(LIVE, says=Source(OLD), running=LIVE), spec=changed), NOW)
    assert [pin.digest for pin in the_record(following).config] == [OLD]
    pinned_now = recorded(OLD, 2, "B")
    after = given(LIVE, pinned_now, says=Source(OLD), running=pinned_now)
    assert live(plan(replace(after, spec=changed), NOW)) == ()


def test_grant_taken_back_replaces_nothing_and_losses_are_repaired_from_the_copy() -> None:
    taken = given(PINNED, running=PINNED, withheld=True)
    decided = plan(taken, NOW)
    assert is_settled(decided)
    assert live(decided) == (), "its instances read the copy"
    [birth] = plan(replace(taken, instances=()), NOW).actions
    assert isinstance(birth, Create)
    assert birth.revision == PINNED.id
    changed = replace(taken, spec=replace(taken.spec, template=template("B")))
    assert the_record(plan(changed, NOW)).config == ()


def test_revision_whose_copies_were_never_made_is_recorded_again_without_the_grant() -> None:
    begun = recorded(OLD, 1, began=False)
    assert the_record(plan(given(begun, withheld=True, copies=False), NOW)).config == ()


def test_missing_right_stalls_and_what_runs_is_repaired() -> None:
    denied = Source(None, "no; the Role web-pinning in the namespace shop grants it", denied=True)
    held = given(PINNED, says=denied, running=PINNED)
    decided = plan(held, NOW)
    assert not decided.actions
    assert condition(decided.status) == "Stalled Forbidden"
    assert decided.status is not None
    [blocker] = decided.status.blockers
    assert "the Role web-pinning in the namespace shop" in blocker.message
    assert blocker.subject == "secret/db"
    births = plan(replace(held, instances=()), NOW).actions
    assert [a.revision for a in births if isinstance(a, Create)] == [PINNED.id]


def test_unreadable_secret_keeps_a_copy_from_being_made() -> None:
    unread = Source(None, "the API server is not reachable")
    decided = plan(given(PINNED, says=unread, running=PINNED, copies=False), NOW)
    assert not decided.actions
    assert decided.status is not None
    assert {b.reason for b in decided.status.blockers} == {"ConfigUnreadable"}


def test_missing_secret_is_named() -> None:
    decided = plan(given(PINNED, says=Source(ABSENT), running=PINNED), NOW)
    assert not decided.actions
    assert condition(decided.status) == "Stalled ConfigMissing"
    assert decided.status is not None
    assert decided.status.blockers[0].message.startswith("Secret db not found")


def test_deleted_copy_is_made_again_while_the_secret_is_unchanged() -> None:
    again = plan(given(PINNED, says=Source(OLD), running=PINNED, copies=False), NOW)
    assert [type(action) for action in again.actions] == [CreateSnapshot]


# A lost key: the same content has another digest.


def test_lost_key_replaces_nothing_while_the_content_is_the_same() -> None:
    says = Source(OLD_OTHER_KEY, same=frozenset({OLD}))
    assert is_settled(plan(given(PINNED, says=says, running=PINNED), NOW))


def test_rotation_after_a_lost_key_rolls_out() -> None:
    says = Source(NEW_OTHER_KEY, author="vault")
    decided = plan(given(PINNED, says=says, running=PINNED), NOW)
    record = the_record(decided)
    assert [pin.digest for pin in record.config] == [NEW_OTHER_KEY]
    [told] = decided.announcements
    assert "ConfigChanged (Secret db changed)" in told.message


def test_next_revision_after_a_lost_key_does_not_claim_that_the_secret_changed() -> None:
    says = Source(OLD_OTHER_KEY, same=frozenset({OLD}))
    held = given(PINNED, says=says, running=PINNED)
    decided = plan(replace(held, spec=replace(held.spec, template=template("B"))), NOW)
    assert [pin.digest for pin in the_record(decided).config] == [OLD_OTHER_KEY]
    [told] = decided.announcements
    assert "Secret" not in told.message
    assert config_change({DB: OLD}, {DB: OLD_OTHER_KEY}) == "", "they cannot be compared"
    assert config_change({DB: OLD}, {DB: ABSENT}) == "Secret db changed"


def test_revisions_under_both_keys_are_distinguished() -> None:
    """The Secret goes back to what the first revision recorded under the lost key."""
    second = recorded(NEW_OTHER_KEY, 2)
    says = Source(OLD_OTHER_KEY, same=frozenset({OLD}))
    decided = plan(given(PINNED, second, says=says, running=second), NOW)
    assert [a.revision for a in decided.actions if isinstance(a, Create)] == [PINNED.id]
