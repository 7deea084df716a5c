"""Sorting: each instance is current, stale (and why), ended, terminating, quarantined or held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from immutable_operator.domain.config.references import config_change
from immutable_operator.domain.model import (
    Because,
    Command,
    Instance,
    Reason,
)
from immutable_operator.domain.staleness.age import Aging, expired, judge_age, under_way
from immutable_operator.domain.staleness.evacuating import evacuating, is_cordoned
from immutable_operator.domain.staleness.healing import Healing, healing, repeats
from immutable_operator.domain.staleness.outdated import ended, outdated, refused
from immutable_operator.domain.staleness.requested import requested
from immutable_operator.domain.turn import Turn

__all__ = ["Fleet", "being", "count_current", "remain", "sort_out"]


@dataclass(frozen=True)
class Fleet:
    """The instances of one service, sorted.

    ``deviations`` says how each modified instance differs from its original state; ``why`` says for
    each instance that is to be replaced, why. Instances that are only reported count as current,
    and so do the ``held`` ones: they are to be replaced, but not now (see ``healing``, and a freeze
    of repairs), and no successor is created for them. The ``spared`` ones are of an older
    revision: the rollout replaces them, but not at once for their modification. ``leaving`` says
    for each active instance whose node is about to be taken away, why it leaves, whatever else is
    to be done with it; the ``cordoned`` ones among them leave when another client evicts them.
    """

    turn: Turn
    current: tuple[Instance, ...]
    stale: tuple[Instance, ...]
    ended: tuple[Instance, ...]
    terminating: tuple[Instance, ...]
    quarantined: tuple[Instance, ...]
    why: Mapping[str, Because]
    deviations: Mapping[str, Because]
    held: frozenset[str]
    spared: frozenset[str]
    leaving: Mapping[str, Because]
    cordoned: frozenset[str]
    healing: Healing
    aging: Aging

    def heals(self, instance: Instance) -> bool:
        """Return whether an instance is to be replaced because it was modified."""
        return instance.name in self.deviations and instance.name not in self.spared

    def heals_after(self, predecessor: Instance) -> int:
        """Return how many replacements in a row did not help, with that of a modified one."""
        turn, why = self.turn, self.deviations[predecessor.name]
        counts = repeats(turn, predecessor, why)
        before = predecessor.heals if counts else 0
        return self.healing.heals_after(before, turn.family.signals(why))

    @cached_property
    def prepared(self) -> frozenset[str]:
        """Instances that are replaced for nothing but a cordon: they are not retired for it."""
        goes = self.why.items()
        return self.cordoned & {name for name, why in goes if why.reason is Reason.EVACUATING}

    def is_taken_back(self, successor: Instance) -> bool:
        """Return whether it replaces an instance that stays: the end of its node was taken back."""
        because = successor.because
        evacuates = because is not None and because.reason is Reason.EVACUATING
        return evacuates and successor.replaces not in self.leaving

    @cached_property
    def active(self) -> tuple[Instance, ...]:
        return self.current + self.stale

    @cached_property
    def available(self) -> int:
        return self.turn.count_available(self.active)

    @cached_property
    def available_current(self) -> int:
        return self.turn.count_available(self.current)

    @property
    def is_complete(self) -> bool:
        """Whether the wanted instances exist and are available, and there are no others."""
        desired = self.turn.budget.desired
        return (
            self.turn.wanted is not None
            and len(self.current) == desired == self.available_current
            and all(i.name in self.prepared for i in self.stale)
            and not self.held
        )


def remain(count: int) -> str:
    """Return the part of a message that counts the stale instances that are left."""
    return "1 stale instance remains" if count == 1 else f"{count} stale instances remain"


def being(count: int, what: str) -> str:
    """Return the part of a message that counts instances that are being ``what``, as "removed"."""
    return f"1 instance is being {what}" if count == 1 else f"{count} instances are being {what}"


def count_current(fleet: Fleet) -> str:
    """Return the part of a message that counts the current and available instances."""
    desired = fleet.turn.budget.desired
    return f"{fleet.available_current} of {desired} instances are current and available"


def sort_out(turn: Turn) -> Fleet:
    """Judge every known instance."""
    view = turn.view
    instances = sorted(view.instances, key=lambda i: i.name)
    known = (*view.instances, *view.departed)
    old = _outdated(turn, {i.revision for i in known})
    found = {i.name: _judge(turn, i, old) for i in known}
    deviations = {name: why for name, (why, _) in found.items() if why and why.deviates}
    why = {name: why for name, (_, why) in found.items() if why}
    active = [i for i in instances if i.active]
    wanted = turn.wanted.id if turn.wanted else ""
    fallback = turn.target.fallback
    growing = {wanted, fallback.id if fallback else ""} - {""}
    pace = healing(turn, instances, why, growing)
    spared = frozenset(i.name for i in active if i.name in pace.held and i.revision != wanted)
    for instance in active:
        if instance.name in spared and (stale := _stale(turn, instance, old)) is not None:
            why[instance.name] = stale
    frozen = _frozen(turn, active, why)
    held = (pace.held - spared) | frozen
    # A person's request overrides the hold.
    asked = requested([i for i in active if i.revision == wanted], _requests(turn))
    held -= asked.keys()
    for name in held:
        del why[name]
    young = [i for i in active if i.name not in why and i.name not in held]
    young = [i for i in young if i.revision == wanted]
    going = under_way(young, active)
    going |= {i.name: asked[i.name] for i in young if i.name in asked and i.name not in going}
    # The hold does not keep an instance beyond its age; a freeze does.
    kept = [i for i in active if i.name in held - frozen and i.revision == wanted]
    begun = under_way(kept, active).items()
    going |= {name: reason for name, reason in begun if reason.reason is Reason.EXPIRED}
    age = judge_age(turn, young + kept, going)
    why |= {**going, **age.going}
    held -= why.keys()
    why |= _retired(turn, [i for i in (*instances, *view.departed) if i.name not in why], wanted)
    unknown = turn.wanted is None
    leaving = {i.name: end for i in active if (end := evacuating(i, view.ends, turn.spec))}
    return Fleet(
        turn=turn,
        current=tuple(i for i in active if i.name not in why and not unknown),
        stale=tuple(i for i in active if i.name in why or unknown),
        ended=tuple(
            i for i in instances if i.ended and not i.terminating and i.quarantined is None
        ),
        terminating=tuple(i for i in instances if i.terminating),
        quarantined=tuple(i for i in instances if i.quarantined is not None and not i.terminating),
        why=why,
        deviations=deviations,
        held=held,
        spared=spared,
        leaving=leaving,
        cordoned=frozenset(
            i.name for i in active if i.name in leaving and is_cordoned(i, view.ends)
        ),
        healing=pace,
        aging=age,
    )


def _retired(turn: Turn, rest: list[Instance], wanted: str) -> dict[str, Because]:
    """Return why retired instances that terminate or are gone were retired; successors record it.

    Without a surge they are retired before their successors are created.
    """
    own = [i for i in rest if not i.active and i.uid in turn.view.retired and i.revision == wanted]
    return {**expired(turn, own), **requested(own, _requests(turn))}


def _requests(turn: Turn) -> tuple[Any, ...]:
    """Return the requests that may be carried out: during a freeze, those that override it.

    There are none until the wanted revision is known: instances created meanwhile would be
    outdated.
    """
    requests = tuple(r for r in turn.view.requests if r.command is Command.REGENERATE)
    if turn.spec.suspend or turn.target.is_open:
        return ()
    if turn.target.freeze.holds:
        return tuple(r for r in requests if r.override_freeze)
    return requests


def _frozen(turn: Turn, active: list[Instance], why: Mapping[str, Because]) -> frozenset[str]:
    """Return the instances that a freeze of repairs keeps; a rollout replaces the others anyway."""
    freeze, wanted = turn.target.freeze, turn.wanted
    if not freeze.repairs or wanted is None:
        return frozenset()
    known = (i.name for i in active if i.revision == wanted.id)
    return frozenset(name for name in known if name in why and why[name].deviates) - freeze.exempt


def _judge(
    turn: Turn, instance: Instance, old: Mapping[str, Because]
) -> tuple[Because | None, Because | None]:
    """Return how it deviates or is stale, and why it is to be replaced; either may be None.

    ``old`` says by revision why its instances are outdated.
    """
    spec, wanted = turn.spec, turn.wanted
    template: Mapping[str, Any] | None = None
    if turn.target.is_asked and wanted is not None and instance.revision == wanted.id:
        template = spec.template
    deviates = turn.family.deviation(instance, template, turn.view.evidence, spec)
    reported = deviates is not None and deviates.is_reported
    # In a revision that has not worked yet, a restart is a failure, not a modification.
    restarted = instance.restarted and (instance.ready_since is not None or _worked(turn, instance))
    if restarted and spec.replace_restarted and (deviates is None or reported):
        cause = f"container {instance.restarted} was restarted in place"
        deviates, reported = Because(Reason.TAINTED, cause), False
    if deviates is not None and not reported:
        return deviates, deviates
    # Other reasons to be stale still apply if a deviation is only reported.
    other = _stale(turn, instance, old)
    return deviates or other, other


def _worked(turn: Turn, instance: Instance) -> bool:
    """Return whether its revision was available once."""
    verdicts = (r.verdict for r in turn.view.revisions if r.id == instance.revision)
    return any(v.completed is not None or v.first_available is not None for v in verdicts)


def _outdated(turn: Turn, revisions: Iterable[str]) -> dict[str, Because]:
    """Return why instances of these revisions are outdated; without those that are not."""
    wanted = turn.wanted
    if wanted is None:
        return {}
    found = {}
    for revision in revisions:
        known = (r.digests for r in turn.view.revisions if r.id == revision)
        digests = next(known, None)
        changed = "" if digests is None else config_change(digests, wanted.digests)
        if (why := outdated(revision, wanted, changed)) is not None:
            found[revision] = why
    return found


def _stale(turn: Turn, instance: Instance, old: Mapping[str, Because]) -> Because | None:
    if turn.wanted is None:
        return None
    return (
        old.get(instance.revision)
        or ended(instance)
        or refused(instance)
        or evacuating(instance, turn.view.ends, turn.spec)
    )
