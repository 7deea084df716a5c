"""The webhook's certificates over time: whoever serves what, and whoever trusts what, they fit.

The world here is the worst that the settle time allows: a replica may serve, and an API server
may trust, anything that was stored or published within the last settle time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from hypothesis import given, settings
from hypothesis import strategies as st

from immutable_operator.admission.certificates import Pair, authorities, issue, read_pair
from immutable_operator.admission.rotation import (
    Keys,
    RotationTimes,
    read_keys,
    rotate,
    write_keys,
)
from tests.unit.examples import examples

START = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
NAMES = ("immutable-operator-webhook.immutable-system.svc", "127.0.0.1")
TIMES = RotationTimes(timedelta(hours=24), timedelta(minutes=2))

T = TypeVar("T")


def fits(pair: Pair, bundle: str, now: datetime) -> bool:
    """Whether a client that trusts the bundle accepts the certificate, under every name."""
    trusted = x509.load_pem_x509_certificates(bundle.encode())
    leaf = x509.load_pem_x509_certificate(pair.certificate.encode())
    policy = PolicyBuilder().store(Store(trusted)).time(now)
    for subject in (x509.DNSName(NAMES[0]), x509.IPAddress(ip_address(NAMES[1]))):
        policy.build_server_verifier(subject).verify(leaf, [])
    return True


@dataclass
class World:
    """A Secret, a webhook configuration, and clients that may hold an older state of them."""

    now: datetime = START
    keys: Keys = field(default_factory=Keys)
    published: str = ""
    stored: list[tuple[datetime, Pair]] = field(default_factory=list)
    bundles: list[tuple[datetime, str]] = field(default_factory=list)
    serials: set[int] = field(default_factory=set)

    def look(self, crash: bool = False) -> None:
        """One look of a leader; a crash comes between storing and publishing."""
        keys = rotate(read_keys(write_keys(self.keys)), self.published, self.now, TIMES, NAMES)
        if keys.serving and keys.serving != self.keys.serving:
            self.stored.append((self.now, keys.serving))
            self.serials.add(keys.serving.serial)
        self.keys = keys
        if not crash and keys.bundle != self.published:
            self.published = keys.bundle
            self.bundles.append((self.now, keys.bundle))

    def pass_time(self, time: timedelta) -> None:
        self.now += time

    def check(self) -> None:
        for pair in recent(self.stored, self.now):
            for bundle in recent(self.bundles, self.now):
                assert fits(pair, bundle, self.now)


def recent(history: list[tuple[datetime, T]], now: datetime) -> list[T]:
    """What a client may still hold: all of the last settle time, and what was before it."""
    ended = [*(since for since, _ in history[1:]), now]
    return [
        value for (_, value), end in zip(history, ended, strict=True) if end > now - TIMES.settle
    ]


def test_first_certificate_is_served_and_trusted_at_once() -> None:
    world = World()
    world.look()
    assert world.keys.serving
    assert fits(world.keys.serving, world.published, START)
    before = world.keys
    world.pass_time(TIMES.settle)
    world.look()
    world.look()
    assert world.keys.serving == before.serving
    assert world.keys.next is None


def test_rotation_publishes_then_serves_then_retires() -> None:
    world = World()
    world.look()
    first = world.keys.serving
    assert first
    world.pass_time(TIMES.lifetime / 2 - timedelta(seconds=1))
    world.look()
    assert world.keys == Keys(serving=first), "not before half of its life"

    world.pass_time(timedelta(seconds=2))
    world.look()
    coming = world.keys.next
    assert coming
    assert world.keys.serving == first
    assert authorities(world.published, world.now) == {first.authority, coming.authority}

    world.look()
    assert world.keys.published == world.now, "settling begins when it was seen published"
    world.pass_time(TIMES.settle - timedelta(seconds=1))
    world.look()
    assert world.keys.serving == first
    world.pass_time(timedelta(seconds=1))
    world.look()
    assert (world.keys.serving, world.keys.next) == (coming, None)
    assert first.authority in world.published, "a replica may still serve the old one"

    world.pass_time(TIMES.settle)
    world.look()
    assert authorities(world.published, world.now) == {coming.authority}


STEPS = st.lists(
    st.tuples(
        # A rotation takes two looks, and has half of the lifetime (12 h) for them, emptied bundles
        # included: with longer steps a few in a row would outlast a certificate.
        st.sampled_from([1, 10, 60, 119, 120, 121, 300, 1_800, 3_600]),
        st.sampled_from(["look", "look", "look", "crash", "emptied bundle"]),
    ),
    max_size=40,
)


@settings(max_examples=examples(60), deadline=None)
@given(STEPS)
def test_served_certificate_is_trusted_by_every_replica(
    steps: list[tuple[int, str]],
) -> None:
    world = World()
    world.look()
    for seconds, what in steps:
        world.pass_time(timedelta(seconds=seconds))
        if what == "emptied bundle":
            # Somebody took the caBundle away: until it is published again nobody trusts anything.
            world.published = ""
        # Every ten seconds a leader looks; here as often as it takes it to have nothing to do.
        world.look(crash=what == "crash")
        world.look()
        world.check()
        assert world.published == world.keys.bundle


def test_rotation_continues_for_thirty_certificates() -> None:
    world = World()
    for _ in range(450):
        world.look()
        world.check()
        world.pass_time(
            timedelta(hours=3) if world.keys == Keys(world.keys.serving) else TIMES.settle
        )
    assert len(world.serials) > 30
    assert world.keys.bundle.count("BEGIN") <= 3


def test_lost_secret_is_restored_from_the_memory_of_replicas() -> None:
    world = World()
    world.look()
    remembered = world.keys.serving
    assert remembered
    world.keys = Keys()
    while world.keys.serving is None:
        world.look()
        assert fits(remembered, world.published, world.now), "it is still served"
        world.pass_time(timedelta(seconds=30))
    world.look()
    assert fits(world.keys.serving, world.published, world.now)
    assert fits(remembered, world.published, world.now), "some have not looked yet"


def test_certificate_that_expired_without_a_leader_is_replaced_at_once() -> None:
    world = World()
    world.look()
    world.pass_time(TIMES.lifetime * 2)
    world.look()
    assert world.keys.serving
    assert fits(world.keys.serving, world.published, world.now)


def test_certificate_that_expires_during_a_rotation_is_replaced_at_once() -> None:
    world = World()
    world.look()
    world.pass_time(TIMES.lifetime / 2 + timedelta(minutes=1))
    world.look()
    world.look()
    coming = world.keys.next
    assert coming
    world.pass_time(TIMES.lifetime / 2)
    world.look()
    assert world.keys.serving == coming
    assert fits(coming, world.published, world.now)


def test_changed_host_name_issues_a_new_certificate_at_once() -> None:
    world = World()
    world.look()
    renamed = rotate(world.keys, world.published, START, TIMES, ("other.example.svc",))
    assert renamed.serving
    assert renamed.serving.names == {"other.example.svc"}


def test_shorter_lifetime_is_applied() -> None:
    world = World()
    world.look()
    world.pass_time(TIMES.settle)
    world.look()
    shorter = RotationTimes(timedelta(hours=1), TIMES.settle)
    assert rotate(world.keys, world.published, world.now, shorter, NAMES).next


def test_emptied_bundle_restarts_the_wait() -> None:
    world = World()
    world.look()
    world.pass_time(TIMES.lifetime / 2 + timedelta(minutes=1))
    world.look()
    world.look()
    assert world.keys.published
    world.published = ""
    world.pass_time(TIMES.settle)
    world.look()
    assert world.keys.next
    assert world.keys.published is None
    assert world.published == world.keys.bundle


@pytest.mark.parametrize("broken", ["ca.crt", "tls.crt", "tls.key", "since.json"])
@given(damage=st.text(max_size=50))
@settings(max_examples=examples(20), deadline=None)
def test_damaged_secret_is_read_as_far_as_it_is_valid(broken: str, damage: str) -> None:
    pair = issue(NAMES, START, TIMES.lifetime)
    data = write_keys(Keys(serving=pair)) | {broken: damage}
    assert read_keys(data).serving == (pair if broken == "since.json" else None)


def test_key_of_another_certificate_is_rejected() -> None:
    one, other = (issue(NAMES, START, TIMES.lifetime) for _ in range(2))
    assert read_pair(one.authority, one.certificate, one.key) == one
    assert read_pair(one.authority, one.certificate, other.key) is None
    assert read_pair(other.authority, one.certificate, one.key) is None


@pytest.mark.parametrize(("lifetime", "settle"), [(60, 11), (60, 0), (0, 0), (60, -1)])
def test_impossible_times_are_refused(lifetime: float, settle: float) -> None:
    with pytest.raises(ValueError, match="cannot be rotated"):
        RotationTimes(timedelta(seconds=lifetime), timedelta(seconds=settle))
