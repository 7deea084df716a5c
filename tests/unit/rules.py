"""The rules of safety, as checks of one plan. The numbers are those of the design.

What the rules speak of is counted here again, from the view alone, and not taken from the
planner. They are checked for any view (test_domain_properties.py) and at every step of the
simulation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from immutable_operator.domain.calendar.regeneration import Regeneration
from immutable_operator.domain.calendar.windows import is_open
from immutable_operator.domain.checks import all_passed
from immutable_operator.domain.config.hashing import find_revision
from immutable_operator.domain.families.pods import deviation
from immutable_operator.domain.ledger import Budget, resolve
from immutable_operator.domain.model import (
    ABSENT,
    SECRET,
    Cause,
    Command,
    ConfigKey,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    DeleteRoute,
    Instance,
    Move,
    OnFailure,
    OnTaint,
    Plan,
    Policy,
    Quarantine,
    Reason,
    Retire,
    Revision,
    Route,
    SetBudget,
    SetReplicas,
    SetRoute,
    SetVerdict,
    SetWeight,
    SetWeights,
    Spec,
    Status,
    TroubleKind,
    Verdict,
    View,
    preview_name,
)
from immutable_operator.domain.planner import plan
from immutable_operator.domain.protection import BUDGET_CONFLICT, BUDGET_REFUSED
from immutable_operator.domain.routing import ROUTE_REFUSED, ROUTE_TAKEN
from immutable_operator.domain.weights import ROUTE_UNUSABLE

__all__ = ["Case", "check", "is_converged"]

# What a key makes unique may be said by each plan: it is told once.
TOLD_BY_KEY = {
    *("NameTaken", "Promoted", "RevisionRejected", "ServiceRestored", "CheckPassed"),
    *("StepCompleted", "WeightsRestored"),
}
# Planning a crowd again takes long and says no more of the status than planning a few.
MANY = 30


@dataclass(frozen=True)
class Case:
    """One plan, and what was there when it was made."""

    view: View
    plan: Plan
    now: float

    @cached_property
    def wanted(self) -> Revision | None:
        """The revision that is worked towards, from the records and the spec alone."""
        found = self.asked_for
        blind = self.missing or self.spec.template is None
        moves_on = found is None or found not in (self.running, self.last_good)
        stands = self.running is not None or any(i.active for i in self.view.instances)
        if not blind and found is not None and found.verdict.is_failed:
            return self.instead_of(found)
        if blind or (self.frozen and moves_on and stands) or found is None:
            return self.running
        return found

    def instead_of(self, failed: Revision) -> Revision:
        """The revision that runs while the spec asks for a failed one: that one if none may."""
        back = self.back_from(failed)
        holds = self.spec.on_failure is OnFailure.HOLD and not failed.verdict.rejected_by
        return failed if back is None or holds else back

    def back_from(self, failed: Revision) -> Revision | None:
        """The good revision to go back to: the recorded one, unless a rollout began since, or the
        one that has the traffic.
        """
        live = self.live if self.live and not self.live.verdict.is_failed else None
        good = [r for r in self.view.revisions if r in self.good or r == live]
        good = [r for r in good if r != failed]
        began = [r.verdict.started or 0.0 for r in self.view.revisions if r != failed]
        recorded = max(began, default=0.0) <= (failed.verdict.failed or 0.0)
        order = sorted(good, key=lambda r: (r.verdict.completed or 0.0, r.number), reverse=True)
        order.sort(key=lambda r: r != live)
        if recorded:
            order.sort(key=lambda r: r.id != failed.verdict.fallback)
        return next((r for r in order if self._can_run(r)), None)

    def _can_run(self, revision: Revision) -> bool:
        if any(i.active and i.revision == revision.id for i in self.view.instances):
            return True
        for pin in revision.config:
            source = self.view.configs.get(pin.key)
            # What cannot be read now is not lost.
            known = source is None or source.digest in (None, pin.digest)
            if pin.digest != ABSENT and pin.snapshot not in self.view.snapshots and not known:
                return False
        return True

    @cached_property
    def went_back(self) -> bool:
        """Whether another revision runs than the one asked for, because that one failed."""
        asked = self.asked_for
        return asked is not None and asked.verdict.is_failed and asked != self.wanted

    @cached_property
    def decides(self) -> bool:
        """Whether a verdict is to be written that gives the next plan another target."""
        marks = [a for a in self.plan.actions if isinstance(a, SetVerdict)]
        return any(_aim(m.verdict) != _aim(m.revision.verdict) for m in marks)

    @cached_property
    def may_be_unrouted(self) -> bool:
        """Whether there is a reason why a Service cannot be what the spec asks for."""
        foreign = any(not route.is_own for route in self.view.routes)
        return foreign or any(r.move is Move.ROUTE for r in self.view.refusals)

    @cached_property
    def baking(self) -> bool:
        """Whether all is there, and has to stay for a while before it is complete."""
        proves = self.spec.proves and self.budget.desired
        return bool(proves) and bool(
            self.wanted and self.wanted.verdict.is_under_way and self.wanted != self.last_good
        )

    @cached_property
    def live(self) -> Revision | None:
        """The revision that has the traffic, if one alone has it, once one was promoted."""
        by_route = self.spec.canary is not None and self.spec.http_route is not None
        if self.spec.blue_green is None and not by_route:
            return None

        def stamps(revision: Revision) -> list[float]:
            times = (revision.verdict.promoted, revision.verdict.completed)
            return [0.0, *(at for at in times if at is not None)]

        promoted = [r for r in self.view.revisions if r.verdict.promoted is not None]
        for revision in sorted(promoted, key=lambda r: -r.number):
            others = [at for r in self.view.revisions if r != revision for at in stamps(r)]
            if max(others, default=0.0) <= (revision.verdict.promoted or 0.0):
                return revision
        return None

    @cached_property
    def share(self) -> int | None:
        """How many instances of the wanted revision the steps of a canary allow now.

        None if no step is left, or if the last good revision did not run.
        """
        canary, wanted, last = self.spec.canary, self.wanted, self.last_good
        if canary is None or wanted is None or last in (None, wanted) or self.went_back:
            return None
        if last is None:
            return None
        verdict = wanted.verdict
        ran = any(i.revision == last.id for i in (*self.view.instances, *self.view.departed))
        others = [r.verdict.started or 0.0 for r in self.view.revisions if r != wanted]
        began = verdict.started is not None and verdict.started >= max(others, default=0.0)
        if began and not (verdict.is_under_way or verdict.is_failed):
            return None
        noted = verdict.takes_over_from == last.id if began else last.verdict.replicas != 0
        ran = noted if began else ran or noted
        if not ran or (not began and wanted != self.asked_for):
            return None
        done = verdict.step if began else 0
        if done >= len(canary.steps):
            return None
        given = [s for s in canary.steps[: done + 1] if isinstance(s, SetReplicas | SetWeight)]
        there = len(self.of(last.id))
        step = given[-1]
        part = step.count if isinstance(step, SetReplicas) else f"{step.percent}%"
        desired = self.budget.desired
        share = min(desired, max(1, resolve(part, desired, round_up=True)))
        # What cannot be created of the last good one is filled in.
        return share if self.births_of(last) else max(share, desired - there)

    @property
    def taken(self) -> int:
        """How many places of all that are wanted a step of a canary takes: none with a route."""
        return (self.share or 0) if self.live is None else 0

    @property
    def most(self) -> int:
        """How many may exist: with BlueGreen a second fleet, too."""
        return self.budget.most + (self.budget.desired if self.live is not None else 0)

    def of(self, revision: str) -> list[Instance]:
        """The instances of a revision; of all with ""."""
        return [i for i in self.view.instances if i.active and revision in ("", i.revision)]

    @property
    def shown(self) -> str | None:
        """The revision that the preview Service of the operator selects."""
        own = (r for r in self.view.routes if r.is_own and not r.is_leaving)
        return next((r.revision for r in own if r.name == preview_name(self.view.name)), None)

    @property
    def route(self) -> Route | None:
        """The Service of the operator that has the traffic."""
        own = (r for r in self.view.routes if r.is_own and r.name == self.view.name)
        return next(own, None)

    @cached_property
    def good(self) -> list[Revision]:
        known = self.view.revisions
        return [r for r in known if r.verdict.completed is not None and not r.verdict.is_failed]

    @cached_property
    def running(self) -> Revision | None:
        begun = [r for r in self.view.revisions if r.verdict.started is not None]
        newest = max(begun, key=lambda r: (r.verdict.started or 0.0, r.number), default=None)
        of = Counter(i.revision for i in self.view.instances)
        seen = [r for r in self.view.revisions if of[r.id]]
        found = newest or max(seen, key=lambda r: (of[r.id], r.number), default=None)
        return self.instead_of(found) if found and found.verdict.is_failed else found

    @cached_property
    def last_good(self) -> Revision | None:
        return max(self.good, key=lambda r: (r.verdict.completed or 0.0, r.number), default=None)

    @cached_property
    def crowded(self) -> bool:
        """Whether the wanted revision lacks a place that only another instance's end gives."""
        full = any(
            r.move is Move.CREATE
            and r.cause is Cause.QUOTA
            and self.wanted is not None
            and r.revision == self.wanted.id
            for r in self.view.refusals
        )
        return full or any(
            i.trouble is not None and i.trouble.kind is TroubleKind.UNSCHEDULABLE
            for i in self.current
            if not self.available([i])
        )

    @cached_property
    def works(self) -> bool:
        """Whether the wanted revision can be counted on."""
        if self.wanted is None or not self.births_of(self.wanted):
            return False
        if self.wanted.verdict.is_failed and self.back_from(self.wanted) is not None:
            return False
        proven = bool(self.available(self.of_wanted)) or self.wanted == self.last_good
        return proven and not any(i.trouble and i.trouble.settled for i in self.current)

    def births_of(self, revision: Revision) -> bool:
        """Whether nothing stands against a birth of a revision."""
        copies = {pin.snapshot for pin in revision.config if pin.digest != ABSENT}
        refused = any(
            r.move is Move.CREATE and r.revision == revision.id and r.cause is not Cause.NAME_TAKEN
            for r in self.view.refusals
        )
        return copies <= self.view.snapshots and not refused

    @cached_property
    def missing(self) -> bool:
        """Whether a ConfigMap is not there without which nothing can be wanted."""
        known = {name: self.view.configs.get(name) for name in self.spec.pinned}
        return any(
            source is None or source.digest is None or (source.digest == ABSENT and not optional)
            for (name, optional) in self.spec.pinned.items()
            for source in [known[name]]
        )

    @cached_property
    def asked_for(self) -> Revision | None:
        """The revision on record that the spec and its configuration ask for."""
        if self.missing or self.spec.template is None:
            return None
        known = {name: self.view.configs[name] for name in self.spec.pinned}
        digests = {name: source.digest or "" for name, source in known.items()}

        def compared(revision: Revision) -> dict[ConfigKey, str]:
            """What it did not pin of Secrets does not count, nor what cannot be read any more."""
            own = revision.digests
            kept = {k: d for k, d in digests.items() if k[0] != SECRET or k in own}
            same = {k: own[k] for k in kept.keys() & own.keys() if own[k] in known[k].same}
            return kept | same | {k: d for k, d in own.items() if k in self.view.withheld}

        return find_revision(self.spec.template or {}, self.view.revisions, compared)

    @cached_property
    def frozen(self) -> bool:
        """Whether a freeze holds that no action overrides."""
        passing = (r for r in self.view.requests if r.command is Command.REGENERATE)
        if any(r.override_freeze and r.instance is None for r in passing):
            return False
        return any(
            (freeze.begins or 0.0) <= self.now
            and (freeze.ends is None or self.now < freeze.ends)
            and (not freeze.windows or is_open(freeze.windows, self.now))
            for freeze in self.view.freezes
        )

    @cached_property
    def template(self) -> Any:
        """That of the wanted revision; None where only its record has it."""
        return self.spec.template if self.asked_for == self.wanted else None

    @cached_property
    def routine(self) -> set[str]:
        """Those that go for their age, on request, or because their nodes go."""
        return {name for name, reason in self.plan.stale if Reason(reason).is_routine}

    @property
    def acting(self) -> bool:
        """Whether instances may be moved at all."""
        if self.spec.suspend or self.view.deleting or self.decides:
            return False
        return self.wanted is not None

    @property
    def spec(self) -> Spec:
        return self.view.spec

    @cached_property
    def budget(self) -> Budget:
        desired = self.spec.replicas
        if desired is None:
            desired = self.view.desired_before
        noted = [r for r in self.view.revisions if r.verdict.replicas is not None]
        if desired is None and noted:
            latest = max(noted, key=lambda r: (r.verdict.started or 0.0, r.number))
            desired = latest.verdict.replicas
        if desired is None:
            known = [*self.view.instances, *self.view.departed]
            slots = {i.slot for i in known if not i.terminating}
            desired = len(slots) or (1 if not self.view.revisions else max(1, len(known)))
        return Budget.of(desired, self.spec.max_surge, self.spec.max_unavailable)

    @cached_property
    def creates(self) -> list[Create]:
        return [a for a in self.plan.actions if isinstance(a, Create)]

    @cached_property
    def retired(self) -> set[str]:
        return {a.name for a in self.plan.actions if isinstance(a, Retire)}

    @cached_property
    def active(self) -> list[Instance]:
        """All that count against the budget, without those that this plan takes out of traffic."""
        out = {a.name for a in self.plan.actions if isinstance(a, Quarantine)}
        ended = (
            i.terminating or i.ended or i.quarantined is not None or i.name in out
            for i in self.view.instances
        )
        return [i for i, gone in zip(self.view.instances, ended, strict=True) if not gone]

    @cached_property
    def of_wanted(self) -> list[Instance]:
        assert self.wanted is not None
        return [i for i in self.active if i.revision == self.wanted.id]

    @cached_property
    def current(self) -> list[Instance]:
        return [i for i in self.of_wanted if not self.to_heal(i) and i.name not in self.routine]

    @cached_property
    def stale(self) -> list[Instance]:
        sound = {i.name for i in self.current}
        return [i for i in self.active if i.name not in sound]

    def again(self, prior: Status) -> Plan:
        """The plan with this status found; the same view gives the same plan."""
        if prior == self.view.prior:
            return self.plan
        return plan(replace(self.view, prior=prior), self.now)

    def deviates(self, instance: Instance) -> bool:
        """Whether it is no longer what was born."""
        assert self.wanted is not None
        template = self.template if instance.revision == self.wanted.id else None
        return deviation(instance, template, self.view.evidence) is not None

    def to_heal(self, instance: Instance) -> bool:
        """Whether it is to be replaced for that, now or later."""
        verdicts = (r.verdict for r in self.view.revisions if r.id == instance.revision)
        worked = any(v.completed is not None or v.first_available is not None for v in verdicts)
        known = instance.ready_since is not None or worked
        restarted = self.spec.replace_restarted and instance.restarted is not None and known
        return restarted or (self.deviates(instance) and self.spec.on_taint is not OnTaint.REPORT)

    def leaves(self, instance: Instance) -> bool:
        """Whether its node is about to be taken away, as far as the service minds."""
        end = self.view.ends.get(instance.node or "")
        minds = end is not None and (end.announced or self.spec.drain_protection)
        return minds and end is not None and instance.born < end.since

    def prepared(self, instances: Iterable[Instance]) -> list[Instance]:
        """Those whose nodes are only cordoned."""
        ends = self.view.ends
        return [i for i in instances if i.node and i.node in ends and not ends[i.node].announced]

    @property
    def covered(self) -> bool:
        """Whether the user allows everything to be unavailable at once."""
        return self.budget.unavailable >= self.budget.desired

    def available(self, instances: Iterable[Instance]) -> int:
        least = self.spec.min_ready_seconds
        ready = [i.ready_since for i in instances if i.ready_since is not None]
        return sum(since + least <= self.now or not least for since in ready)

    @property
    def owing(self) -> bool:
        """Whether one that works lacks instances: those that never worked make room for it."""
        works = {i.revision for i in self.stale if i.ready_since is not None}
        if self.last_good is None:  # before that, what worked once counts
            worked = [r for r in self.view.revisions if r.verdict.first_available is not None]
            works |= {r.id for r in worked if r != self.wanted and not r.verdict.is_failed}
        return not self.works and (self.last_good is not None or bool(works))

    def staying(self, instances: Iterable[Instance]) -> list[Instance]:
        return [i for i in instances if i.name not in self.retired]


def _aim(verdict: Verdict) -> tuple[object, ...]:
    return verdict.is_failed, verdict.rejected_by, verdict.fallback


def _1_no_more_than_desired_and_surge(case: Case) -> None:
    if case.acting:
        assert case.wanted is not None
        replacing = bool(case.stale) or {c.revision for c in case.creates} - {case.wanted.id}
        most = case.most if replacing or case.live is not None else case.budget.desired
        assert len(case.active) + len(case.creates) <= max(most, len(case.active))


def _2_enough_stay_available(case: Case) -> None:
    if case.acting:
        before = case.available(case.active)
        floor = max(0, case.budget.desired - case.budget.unavailable)
        assert case.available(case.staying(case.active)) >= min(before, floor)


def _2_an_unproven_revision_costs_no_available_instance(case: Case) -> None:
    unproven = case.acting and not case.available(case.of_wanted) and not case.crowded
    if unproven and case.budget.surge and not case.covered:
        before = case.available(case.active)
        assert case.available(case.staying(case.active)) >= min(before, case.budget.desired)


def _3_the_last_good_revision_stays_until_another_is_proven(case: Case) -> None:
    """Its healthy instances go only when they alone are more than must stay available.

    With BlueGreen it is the revision that has the traffic that stays, also if it failed: clients
    reach no other one.
    """
    if case.acting and not case.available(case.of_wanted) and not case.covered:
        kept = case.last_good if case.live is None else case.live
        good = [i for i in case.stale if kept and i.revision == kept.id and not case.to_heal(i)]
        floor = case.budget.desired
        if case.budget.surge == 0 or case.crowded:
            floor -= case.budget.unavailable  # nothing can be proved beside them
        assert case.available(case.staying(good)) >= min(case.available(good), floor)


def _4_needed_revisions_are_kept(case: Case) -> None:
    dropped = {a.uid for a in case.plan.actions if isinstance(a, DeleteRevision)}
    if dropped:
        needed = {r.id for r in (case.wanted, case.last_good, case.asked_for) if r is not None}
        if case.asked_for is not None:
            needed.add(case.asked_for.verdict.fallback)
        elif case.missing or case.spec.template is None:
            needed |= {r.id for r in case.view.revisions if r.verdict.is_failed}
        needed |= {i.revision for i in case.view.instances}
        needed |= {c.revision for c in case.creates}
        assert not needed & {r.id for r in case.view.revisions if r.uid in dropped}
        kept = [r for r in case.view.revisions if r.uid not in dropped]
        assert max(r.number for r in kept) == max(r.number for r in case.view.revisions)
        assert len(kept) > case.spec.history_limit


def _5_the_wanted_revision_grows_and_one_that_works_while_it_does_not(case: Case) -> None:
    if not case.acting:
        return
    assert case.wanted is not None
    beside = case.live.id if case.live is not None else ""
    if case.share is not None and case.last_good is not None and case.works:
        beside = case.last_good.id
    others = {c.revision for c in case.creates} - {case.wanted.id, beside}
    assert len(others) <= 1
    if beside:
        there, more = len(case.of(beside)), sum(c.revision == beside for c in case.creates)
        assert there + more <= max(case.budget.most - case.taken, there)
    if others:
        assert not case.works
        (other,) = others
        assert case.wanted != case.last_good or any(
            i.revision == other and i.ready_since is not None for i in case.active
        )
        own = (i for i in case.active if i.revision == other and not case.leaves(i))
        sound = [i for i in own if not case.deviates(i) and not case.to_heal(i)]
        born = [c for c in case.creates if c.revision == other]
        apart = case.available(i for i in case.active if i.revision != other)
        # What was wanted in between goes once the share of a canary is restored.
        passing = any(case.share is not None and i.revision != other for i in case.stale)
        apart = 0 if passing else apart
        assert len(sound) + len(born) + apart <= case.budget.desired
    count, desired = len(case.current), case.budget.desired
    births = sum(c.revision == case.wanted.id for c in case.creates)
    assert count + births <= max(desired, count)
    if case.live not in (None, case.wanted):
        return  # as many previews as are asked for
    kept = desired if case.share is None else case.share
    if len(case.staying(case.current)) < min(count, kept):
        assert len(case.active) > case.budget.most or others or case.owing


def _a_failed_revision_is_not_tried_again(case: Case) -> None:
    """Nothing is born of it, unless there is no other one to go back to."""
    for birth in case.creates:
        revision = next((r for r in case.view.revisions if r.id == birth.revision), None)
        if revision is not None and revision.verdict.is_failed:
            assert revision == case.wanted
            assert case.back_from(revision) is None


def _a_failed_revision_is_never_wanted_while_a_good_one_may_run(case: Case) -> None:
    status, failed = case.plan.status, [r for r in case.view.revisions if r.verdict.is_failed]
    for revision in failed:
        if status is not None and status.current_revision == revision.id:
            kept = case.spec.on_failure is OnFailure.HOLD and not revision.verdict.rejected_by
            assert kept or case.back_from(revision) is None


def _good_instances_stay_in_a_rollback(case: Case) -> None:
    """Only a surplus goes, and what is modified, aged, asked for, or leaves its node."""
    if case.acting and case.went_back:
        good = {i.name for i in case.of_wanted if not i.ended}
        gone = [a for a in case.plan.actions if isinstance(a, Retire) and a.name in good]
        apart = {r.name for r in gone if "its place is needed" in r.because.cause}
        for retirement in gone:
            reason = retirement.because.reason
            allowed = reason is Reason.SCALED or retirement.because.deviates
            assert reason.is_routine or allowed or retirement.name in apart


def _nothing_is_retired_before_the_failure_is_on_record(case: Case) -> None:
    """Neither are births: the plan after the write has another target."""
    if case.decides:
        assert not case.creates
        assert not [a for a in case.plan.actions if isinstance(a, Retire)]


def _22_what_works_is_repaired(case: Case) -> None:
    """Short of R - U available, the last good one is born again, as far as there is room."""
    good = case.last_good
    if not case.acting or case.works or good is None or good == case.wanted:
        return
    if case.live is not None:
        return  # that one is repaired, and no other
    if not case.births_of(good) or case.covered:
        return
    if {c.revision for c in case.creates} - {good.id, case.wanted.id if case.wanted else ""}:
        return  # another one works, and this one is stuck: rule 5 judges that
    known = [*case.view.instances, *case.view.departed]
    if not any(i.revision == good.id for i in known):
        return  # scaled to none before: nothing of it was lost
    active = [i for i in case.view.instances if i.active]
    there = [i for i in active if i.revision == good.id]
    apart = case.available(i for i in active if i.revision != good.id)
    born = sum(c.revision == good.id for c in case.creates)
    least = case.budget.fewest_available - apart
    stuck = any(i.trouble and i.trouble.settled for i in case.current)
    if case.share is not None and not stuck:
        least = min(least, case.budget.desired - case.share)
    waiting = case.spec.counts_terminating
    # An ended one goes first, where each that exists counts.
    leaving = sum(i.terminating or i.ended for i in case.view.instances) if waiting else 0
    room = max(0, case.budget.most - len(active) - leaving)
    paced = any(i.ended and i.tries for i in known)
    assert paced or len(there) + born >= min(least, len(there) + room)


def _27_what_others_can_write_changes_no_move(case: Case) -> None:
    if len(case.view.instances) > MANY:
        return
    forged = Status(desired=7, current_revision="ffffffff", last_good_revision="eeeeeeee")
    for prior in (Status(), forged):
        assert case.again(prior).actions == case.plan.actions


def _deletes_are_the_owners_will_or_hurt_no_budget(case: Case) -> None:
    ready = {i.name for i in case.view.instances if i.ready_since is not None}
    before = case.last_good if case.share is not None else None
    sides = {r.id for r in (case.wanted, case.live, before) if r is not None}
    mine = {i.name: i.revision for i in case.view.instances if i.revision in sides}
    few = case.spec.blue_green.preview_replicas if case.spec.blue_green else None
    for action in case.plan.actions:
        if isinstance(action, Retire) and action.by_will:
            assert action.name in mine
            most = case.budget.desired
            is_preview = case.live is not None and mine[action.name] != case.live.id
            most = min(most, few) if is_preview and few is not None else most
            if case.share is not None and before is not None:
                is_before = mine[action.name] == before.id
                most = most - case.taken if is_before else case.share
            assert len(case.of(mine[action.name])) > most
        if isinstance(action, Retire) and action.while_unready:
            assert action.name not in ready


def _a_canary_has_its_share(case: Case) -> None:
    """No step gives more to the new revision than it says, and none takes more from the last."""
    share, last = case.share, case.last_good
    if share is None or last is None or case.wanted is None or not case.acting:
        return
    if not case.births_of(last):
        return  # another one stands in for what is lost of it
    born = [c for c in case.creates if c.revision == case.wanted.id]
    assert len(born) <= max(0, share - len(case.current))
    before = case.of(last.id)
    others = [i for i in case.active if i.revision not in (last.id, case.wanted.id)]
    others = [i for i in others if i.name not in case.retired]
    retires = [a for a in case.plan.actions if isinstance(a, Retire)]
    routine = {a.name for a in retires if a.because.reason.is_routine} | case.routine
    sound = {i.name for i in before if case.available([i]) and not case.deviates(i)}
    left = [i for i in before if i.name not in case.retired]
    if (sound - routine) & case.retired:
        assert len(left) + len(others) >= case.budget.desired - share


def _6_a_record_is_new(case: Case) -> None:
    records = [a for a in case.plan.actions if isinstance(a, CreateRevision)]
    if records:
        assert len(records) == 1
        assert all(records[0].number > r.number for r in case.view.revisions)
        assert records[0].id not in {r.id for r in case.view.revisions}


def _same_revision_same_content(case: Case) -> None:
    """Nothing is born before all copies of its revision are there; a record holds what is."""
    by_id = {r.id: r for r in case.view.revisions}
    for revision in {c.revision for c in case.creates}:
        needed = {pin.snapshot for pin in by_id[revision].config if pin.digest != ABSENT}
        assert needed <= case.view.snapshots
    for action in case.plan.actions:
        if isinstance(action, CreateRevision):
            assert {pin.key for pin in action.config} == set(case.spec.pinned)
        if isinstance(action, CreateRevision | CreateSnapshot):
            pins = action.config if isinstance(action, CreateRevision) else (action.pin,)
            assert all(case.view.configs[pin.key].digest == pin.digest for pin in pins)


def _9_names_are_free(case: Case) -> None:
    births = [c.name for c in case.creates]
    taken = {r.subject for r in case.view.refusals if r.cause is Cause.NAME_TAKEN}
    assert len(set(births)) == len(births)
    assert not set(births) & (taken | {i.name for i in case.view.instances})


def _10_nothing_is_retired_twice(case: Case) -> None:
    uids = Counter(a.uid for a in case.plan.actions if isinstance(a, Retire))
    assert all(times == 1 for times in uids.values())
    assert not uids.keys() & {i.uid for i in case.view.instances if i.terminating}
    assert uids.keys() <= {i.uid for i in case.view.instances}


def _each_birth_has_its_own_slot_and_predecessor(case: Case) -> None:
    slots = [(c.revision, c.slot) for c in case.creates]
    assert len(set(slots)) == len(slots)
    if case.acting and case.wanted is not None:
        assert not set(slots) & {(i.revision, i.slot) for i in case.current}
    replaced = [c.replaces for c in case.creates if c.replaces]
    assert len(set(replaced)) == len(replaced)
    # What works makes good what it lost, also where a release had begun to replace that one.
    # A name is free again for another instance: it is the uid that says who was replaced.
    living = {(i.revision, i.predecessor) for i in case.active if i.replaces}
    born = {(c.revision, c.replaces_uid or c.replaces) for c in case.creates if c.replaces}
    assert not living & born, "at most one living successor a predecessor and revision"


def _what_taints_again_is_tried_one_at_a_time(case: Case) -> None:
    """Once a successor was tainted like its predecessor, at most one more is replaced for it."""
    if not case.acting:
        return
    relapsed = [
        i
        for i in case.view.instances
        if i.active and i.heals and case.now - i.born < Policy().heal_memory and case.to_heal(i)
    ]
    # What has the traffic beside them is made good from its own revision.
    own = case.wanted.id if case.wanted is not None else ""
    healed = [c for c in case.creates if c.because.deviates and c.revision == own]
    if relapsed and all(i.revision == case.wanted.id for i in case.view.instances if case.wanted):
        left = [i for i in case.view.instances if not i.active or i.terminating]
        assert len(healed) <= 1 + len(left) + len(case.view.departed)
        assert all(c.heals > max(i.heals for i in relapsed) for c in healed)


def _only_quarantine_quarantines(case: Case) -> None:
    kept = {i.name for i in case.view.instances if i.quarantined is not None}
    orders = {a.name for a in case.plan.actions if isinstance(a, Quarantine)}
    if orders:
        assert case.spec.on_taint is OnTaint.QUARANTINE
        assert not orders & (kept | case.retired)
    for i in case.view.instances:
        if i.quarantined is not None and i.name in case.retired:
            assert i.quarantined + case.spec.quarantine_seconds <= case.now


def _reported_is_left_alone(case: Case) -> None:
    """What is only reported goes for another reason, or as the first of a surplus."""
    if case.acting and case.spec.on_taint is OnTaint.REPORT:
        alone = [i for i in case.of_wanted if case.deviates(i) and not case.to_heal(i)]
        if len(case.current) <= case.budget.desired and len(case.active) <= case.budget.most:
            retires = (a for a in case.plan.actions if isinstance(a, Retire))
            room = {r.name for r in retires if "its place is needed" in r.because.cause}
            assert not case.retired & {i.name for i in alone} - case.routine - room


def _age_is_paced_and_never_asks_in_a_freeze(case: Case) -> None:
    """At most maxConcurrent begin for their age; during a freeze none does."""
    if not case.acting:
        return
    expired = {name for name, reason in case.plan.stale if reason == "Expired"}
    succeeded = {i.replaces for i in case.of_wanted}
    assert len(expired - succeeded) <= case.spec.regeneration.max_concurrent
    if case.frozen:
        assert expired <= succeeded
        passing = {r.instance for r in case.view.requests if r.override_freeze}
        asked = {name for name, reason in case.plan.stale if reason == "Requested"}
        assert asked <= succeeded | passing
        if case.running or case.active:
            assert not [a for a in case.plan.actions if isinstance(a, CreateRevision)]


def _whoever_leaves_a_node_is_on_one_that_goes(case: Case) -> None:
    """And was there before; on one that is only cordoned no instance is retired for it."""
    left = {name for name, reason in case.plan.stale if reason == "Evacuating"}
    for instance in case.view.instances:
        end = case.view.ends.get(instance.node or "")
        goes = end is not None and instance.born < end.since
        if instance.name in left:
            assert goes
            assert end is not None
            assert end.announced or case.spec.drain_protection
    wanted_to = {
        a.name
        for a in case.plan.actions
        if isinstance(a, Retire) and a.because.reason is Reason.EVACUATING
    }
    assert not wanted_to & {i.name for i in case.prepared(case.view.instances)}


def _no_second_budget_on_a_pod(case: Case) -> None:
    """And the operator's own says what must stay available."""
    sets = [a for a in case.plan.actions if isinstance(a, SetBudget)]
    if sets:
        assert case.spec.drain_protection
        assert all(budget.is_own for budget in case.view.budgets)
        assert [a.min_available for a in sets] == [case.budget.fewest_available]
        assert [a.revision for a in sets] == [case.live.id if case.live is not None else ""]
    deleted = {a.uid for a in case.plan.actions if isinstance(a, DeleteBudget)}
    assert deleted <= {budget.uid for budget in case.view.budgets if budget.is_own}


def _only_own_services_are_written(case: Case) -> None:
    """And only while the spec asks for one; what it selects are instances of the service."""
    own = {route.uid for route in case.view.routes if route.is_own and not route.is_leaving}
    foreign = {route.name for route in case.view.routes if route.uid not in own}
    sets = [a for a in case.plan.actions if isinstance(a, SetRoute)]
    deletes = [a for a in case.plan.actions if isinstance(a, DeleteRoute)]
    assert not {a.name for a in sets} & foreign
    assert {a.uid for a in deletes} <= own
    assert not {a.name for a in sets} & {a.name for a in deletes}
    assert all(a.traffic == case.spec.traffic for a in sets if a.name == case.view.name)
    assert {a.revision for a in sets} <= {"", *(r.id for r in case.view.revisions)}
    if case.spec.blue_green is None and case.spec.http_route is None:
        with_traffic = [a for a in sets if a.name == case.view.name]
        assert {a.revision for a in with_traffic} <= {""}
        assert case.spec.canary is not None or sets == with_traffic


def _weights_follow_what_can_answer(case: Case) -> None:
    """A revision gets traffic by a weight only while it works, and keeps what may get some."""
    route, shown = case.view.http_route, case.shown
    weighs = [a for a in case.plan.actions if isinstance(a, SetWeights)]
    assert len(weighs) <= 1
    for order in weighs:
        assert case.spec.http_route is not None
        assert not case.spec.suspend
        assert route is not None
        assert route.lack is None
        assert route.percent != order.percent
        assert 0 <= order.percent <= 100
        if order.percent:
            assert shown is not None
            assert case.wanted is not None
            assert shown == case.wanted.id
            assert case.available(case.of(shown))
            assert not case.wanted.verdict.is_failed
            steps = case.spec.canary.steps if case.spec.canary else ()
            assert order.percent in {s.percent for s in steps if isinstance(s, SetWeight)}
    if route is None or not route.sends or case.live is None or shown in ("", None, case.live.id):
        return
    if case.spec.http_route is None or case.spec.template is None:
        return
    preview = preview_name(case.view.name)
    moved = [a for a in case.plan.actions if isinstance(a, SetRoute) and a.name == preview]
    assert {a.revision for a in moved} <= {shown}
    others = {
        i.name for i in case.of(shown or "") if case.wanted is None or shown != case.wanted.id
    }
    assert not others & case.retired


def _traffic_stays_where_instances_are_enough(case: Case) -> None:
    """It goes to a revision that is on record as promoted, and never to a preview."""
    for order in case.plan.actions:
        if not isinstance(order, SetRoute) or order.name != case.view.name:
            continue
        before, desired = case.route, case.budget.desired
        known = None if before is None else before.revision
        switches = known is not None and known != order.revision
        if switches and case.available(case.of(known or "")) >= desired:
            assert case.available(case.of(order.revision)) >= desired
        if case.live is not None:
            kept = known is not None and known == order.revision
            assert kept or order.revision == case.live.id


def _a_promotion_is_decided_and_complete(case: Case) -> None:
    """By a person, after a while, or because the revision worked before; a freeze holds it."""
    for mark in case.plan.actions:
        if not isinstance(mark, SetVerdict) or case.live is None:
            continue
        revision, verdict = mark.revision, mark.verdict
        if verdict.promoted in (None, revision.verdict.promoted):
            continue
        assert not case.spec.suspend
        own = case.available(case.of(revision.id))
        assert own >= case.budget.desired or case.live.verdict.is_failed
        restores = case.went_back or revision == case.last_good
        # Both failed, and this one works better.
        restores = restores or (verdict.is_failed and case.live.verdict.is_failed)
        assert restores or verdict.approved is not None
        if not restores and case.spec.checks:
            assert all_passed(case.spec.checks, revision.verdict.checks), "checks come first"
        urgent = any(r.override_freeze for r in case.view.requests if r.uid == verdict.command)
        assert restores or urgent or not case.frozen


def _the_previous_instances_are_kept_for_a_while(case: Case) -> None:
    way, live = case.spec.blue_green, case.live
    if not case.acting or way is None or live is None or live.verdict.is_failed:
        return
    before = case.back_from(live)
    if before is None or before == case.wanted:
        return
    over = (live.verdict.promoted or 0.0) + way.keep_for <= case.now
    switched = case.route is not None and case.route.revision == live.id
    if case.wanted not in (None, live) and len(case.active) + case.budget.desired > case.most:
        return  # they make room for the instances of a newer revision
    gone = {a.name for a in case.plan.actions if isinstance(a, Retire)}
    kept = {i.name for i in case.of(before.id) if not case.to_heal(i)}
    assert (over and switched) or not gone & kept


def _refused_moves_wait_for_their_time(case: Case) -> None:
    for refusal in case.view.refusals:
        if refusal.retry_at <= case.now:
            continue
        if refusal.move is Move.RETIRE:
            # A budget that forbids an eviction is not asked about a deletion.
            retires = [a for a in case.plan.actions if isinstance(a, Retire)]
            by_will = {a.name for a in retires if a.by_will or a.while_unready}
            moot = by_will if refusal.cause is Cause.DISRUPTION_BUDGET else set()
            assert refusal.subject not in case.retired - moot
        elif refusal.move is Move.CREATE and refusal.cause is not Cause.NAME_TAKEN:
            assert refusal.revision not in {c.revision for c in case.creates}
        elif refusal.move is Move.RECORD:
            records = {a.id for a in case.plan.actions if isinstance(a, CreateRevision)}
            assert refusal.subject not in records
        elif refusal.move is Move.ROUTE:
            routes = (a for a in case.plan.actions if isinstance(a, SetRoute | DeleteRoute))
            assert refusal.subject not in {a.name for a in routes}
        elif refusal.move is Move.WEIGHTS:
            assert not any(isinstance(a, SetWeights) for a in case.plan.actions)


def _12_conditions_tell_the_truth(case: Case) -> None:
    status = case.plan.status
    if status is None:
        return
    assert [c.type for c in status.conditions[:3]] == ["Ready", "Reconciling", "Stalled"]
    true = [c.type for c in status.conditions[:3] if c.status == "True"]
    assert len(true) <= 1
    assert status.observed_generation >= case.view.prior.observed_generation
    assert status.observed_generation >= case.view.generation
    if true == ["Ready"] and status.conditions[0].reason in ("Regenerating", "Evacuating"):
        assert case.routine
        assert status.stale > 0
        assert status.available >= case.budget.fewest_available
        return
    if true == ["Ready"]:
        assert case.wanted is not None
        assert status.current_revision == case.wanted.id
        assert status.current == status.desired == status.available - status.stale
        assert status.desired == case.budget.desired
        prepared = case.prepared(i for i in case.active if i.name in case.routine)
        assert status.stale == len(prepared)
        assert status.rollout is None
        routes = {ROUTE_TAKEN, ROUTE_REFUSED} if case.spec.suspend else set()
        beside = {BUDGET_CONFLICT, BUDGET_REFUSED, ROUTE_UNUSABLE, *routes}
        assert {b.reason for b in status.blockers} <= beside
        assert not status.desired or status.last_good_revision == case.wanted.id


def _13_what_is_suspended_or_refused_or_deleted_is_left_alone(case: Case) -> None:
    if case.view.deleting or case.view.spec.suspend:
        assert not [a for a in case.plan.actions if not isinstance(a, SetVerdict)]
    if case.view.deleting:
        assert case.plan.status is None


def _16_converged_means_nothing_to_do(case: Case) -> None:
    if is_converged(case):
        traffic = SetRoute | DeleteRoute | SetWeights
        beside = DeleteRevision | SetVerdict | SetBudget | DeleteBudget | traffic
        assert not [a for a in case.plan.actions if not isinstance(a, beside)]
        assert case.plan.status is not None
        true = [c for c in case.plan.status.conditions[:3] if c.status == "True"]
        (told,) = true
        unreached = told.reason in (ROUTE_TAKEN, ROUTE_REFUSED) and case.may_be_unrouted
        stalls = case.went_back or unreached
        assert told.type == ("Stalled" if stalls else "Ready")
        assert not case.went_back or told.reason == "RolledBack"
        works = case.plan.status.condition("Available")
        assert works is not None
        assert works.status == "True"
        timed = case.view.freezes or case.spec.regeneration != Regeneration()
        assert case.plan.due is None or timed or case.may_be_unrouted


def _16_a_second_look_changes_nothing(case: Case) -> None:
    if case.plan.status is None:
        return
    again = case.again(case.plan.status)
    assert again.status == case.plan.status
    assert again.actions == case.plan.actions
    assert not [a for a in again.announcements if a.reason not in TOLD_BY_KEY]


def _a_plan_explains_itself_and_is_not_due_at_once(case: Case) -> None:
    assert case.plan.notes
    assert case.plan.due is None or case.plan.due > case.now


RULES: tuple[Callable[[Case], None], ...] = (
    _1_no_more_than_desired_and_surge,
    _2_enough_stay_available,
    _2_an_unproven_revision_costs_no_available_instance,
    _3_the_last_good_revision_stays_until_another_is_proven,
    _4_needed_revisions_are_kept,
    _5_the_wanted_revision_grows_and_one_that_works_while_it_does_not,
    _a_failed_revision_is_not_tried_again,
    _a_failed_revision_is_never_wanted_while_a_good_one_may_run,
    _good_instances_stay_in_a_rollback,
    _nothing_is_retired_before_the_failure_is_on_record,
    _22_what_works_is_repaired,
    _27_what_others_can_write_changes_no_move,
    _deletes_are_the_owners_will_or_hurt_no_budget,
    _a_canary_has_its_share,
    _weights_follow_what_can_answer,
    _6_a_record_is_new,
    _same_revision_same_content,
    _9_names_are_free,
    _10_nothing_is_retired_twice,
    _each_birth_has_its_own_slot_and_predecessor,
    _what_taints_again_is_tried_one_at_a_time,
    _only_quarantine_quarantines,
    _reported_is_left_alone,
    _age_is_paced_and_never_asks_in_a_freeze,
    _whoever_leaves_a_node_is_on_one_that_goes,
    _no_second_budget_on_a_pod,
    _only_own_services_are_written,
    _traffic_stays_where_instances_are_enough,
    _a_promotion_is_decided_and_complete,
    _the_previous_instances_are_kept_for_a_while,
    _refused_moves_wait_for_their_time,
    _12_conditions_tell_the_truth,
    _13_what_is_suspended_or_refused_or_deleted_is_left_alone,
    _16_converged_means_nothing_to_do,
    _16_a_second_look_changes_nothing,
    _a_plan_explains_itself_and_is_not_due_at_once,
)


def is_converged(case: Case) -> bool:
    """Whether all that is wanted is there, available, and nothing else is."""
    if not case.acting or case.wanted is None or case.decides:
        return False
    if case.live not in (None, case.wanted):
        return False
    if case.template is None and not case.went_back:
        return False
    if case.wanted.verdict.is_failed or case.baking or case.share is not None:
        return False
    copies = {pin.snapshot for pin in case.wanted.config if pin.digest != ABSENT}
    if not copies <= case.view.snapshots:
        return False
    wanted = len(case.current) == case.available(case.current) == case.budget.desired
    ended = any(i.ended and not i.terminating for i in case.view.instances)
    apart = any(i.quarantined is not None and not i.terminating for i in case.view.instances)
    apart = apart or any(isinstance(a, Quarantine) for a in case.plan.actions)
    return wanted and not case.stale and not ended and not apart


def check(case: Case) -> None:
    """Check all rules; the rule that was broken is the one that raises."""
    for rule in RULES:
        rule(case)
