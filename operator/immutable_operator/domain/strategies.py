"""Rollout strategies: which instances to create and which to retire, within the ledger.

Rolling is the only one so far: successor first where a surge allows it, unhealthy stale
instances before healthy ones, the newest wanted revision alone grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from immutable_operator.domain.config.references import config_change
from immutable_operator.domain.ledger import Budget, Ledger
from immutable_operator.domain.model import (
    Cause,
    Create,
    Instance,
    Move,
    OnTaint,
    Policy,
    Quarantine,
    Refusal,
    Retire,
    Revision,
    Spec,
    Staleness,
    StaleReason,
    View,
    instance_name,
)
from immutable_operator.domain.staleness.age import Aging, aging
from immutable_operator.domain.staleness.healing import Healing, healing
from immutable_operator.domain.staleness.tampering import staleness

__all__ = ["Fleet", "Moves", "rolling"]


@dataclass(frozen=True)
class Fleet:
    """The instances of one service, sorted out: who is current, stale, ended, leaving.

    ``deviants`` says of every instance that is no longer what was born, how; ``why`` says it of
    those only that are to be replaced for it now. The others (reported only, or held back by
    their ``healing``) count as current: nothing is to be done about them.
    """

    wanted: Revision
    last_good: str | None
    now: float
    min_ready: float
    current: tuple[Instance, ...]
    stale: tuple[Instance, ...]
    ended: tuple[Instance, ...]
    terminating: tuple[Instance, ...]
    quarantined: tuple[Instance, ...]
    why: dict[str, Staleness]
    deviants: dict[str, Staleness]
    healing: Healing
    aging: Aging

    @classmethod
    def of(
        cls,
        view: View,
        spec: Spec,
        wanted: Revision,
        now: float,
        policy: Policy,
        *,
        desired: int,
        waits: bool = False,
        pending: bool = False,
    ) -> Fleet:
        """``waits``: suspended or frozen, nothing goes for its age or on request; ``pending``: the
        spec's template is not the wanted revision's yet."""
        template = None if pending else spec.template
        known = (*view.instances, *view.departed)
        changes = {r.id: config_change(r.digests, wanted.digests) for r in view.revisions}
        found = {
            i.name: _judge(i, view, spec, wanted, template, changes.get(i.revision, ""))
            for i in known
        }
        deviants = {name: why for name, (why, _) in found.items() if why and why.deviates}
        why = {name: why for name, (_, why) in found.items() if why}
        instances = sorted(view.instances, key=lambda i: i.name)
        pace = healing(instances, why, wanted.id, now, policy)
        for name in pace.held:
            del why[name]
        young = [i for i in instances if i.active and i.name not in why and i.name not in pace.held]
        ready = {i.name: _is_available(i, spec.min_ready_seconds, now) for i in young}
        age = aging(
            spec,
            view.uid,
            young,
            desired=desired - len(pace.held),
            available=ready,
            requests=view.requests,
            waits=waits,
            now=now,
        )
        why |= age.going
        return cls(
            wanted=wanted,
            last_good=view.prior.last_good_revision,
            now=now,
            min_ready=spec.min_ready_seconds,
            current=tuple(i for i in instances if i.active and i.name not in why),
            stale=tuple(i for i in instances if i.active and i.name in why),
            ended=tuple(
                i for i in instances if i.ended and not i.terminating and i.quarantined is None
            ),
            terminating=tuple(i for i in instances if i.terminating),
            quarantined=tuple(
                i for i in instances if i.quarantined is not None and not i.terminating
            ),
            why=why,
            deviants=deviants,
            healing=pace,
            aging=age,
        )

    @property
    def active(self) -> tuple[Instance, ...]:
        return self.current + self.stale

    def available(self, instance: Instance) -> bool:
        return _is_available(instance, self.min_ready, self.now)

    def count_available(self, instances: Iterable[Instance]) -> int:
        return sum(self.available(i) for i in instances)

    def next_available(self) -> float | None:
        """When the next ready instance becomes available by waiting alone."""
        times = [i.available_at(self.min_ready) for i in self.active]
        return min((t for t in times if t is not None and t > self.now), default=None)


def _is_available(instance: Instance, min_ready: float, now: float) -> bool:
    at = instance.available_at(min_ready)
    return at is not None and at <= now


def _judge(
    instance: Instance,
    view: View,
    spec: Spec,
    wanted: Revision,
    template: Mapping[str, Any] | None,
    changed: str,
) -> tuple[Staleness | None, Staleness | None]:
    """How it deviates or is stale, and why it is to be replaced, which may be None the same."""
    found = staleness(instance, wanted.id, wanted.number, template, view.evidence, changed)
    reported = found is not None and found.deviates and spec.on_taint is OnTaint.REPORT
    if instance.restarted and spec.replace_restarted and (found is None or reported):
        cause = f"container {instance.restarted} was restarted in place"
        found = Staleness(StaleReason.TAINTED, cause)
    elif reported:
        # What else would make it stale still does.
        without = replace(instance, taint=None, generation=0, images=())
        return found, staleness(without, wanted.id, wanted.number, changed=changed)
    return found, found


@dataclass
class Moves:
    """What a strategy wants done, why, and when it wants to be asked again."""

    creates: list[Create] = field(default_factory=list)
    retires: list[Retire] = field(default_factory=list)
    quarantines: list[Quarantine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    due: list[float] = field(default_factory=list)

    def hold_births(self, fleet: Fleet, why: str) -> None:
        """Nothing can be born: nothing leaves either that would need a successor."""
        stale = {i.name for i in fleet.stale}
        self.creates.clear()
        self.retires = [r for r in self.retires if r.name not in stale]
        self.notes = [why]


def rolling(view: View, spec: Spec, fleet: Fleet, budget: Budget, policy: Policy) -> Moves:
    """Plan one step of a rolling replacement, of a scale, or of a repair: the same step."""
    available_current = fleet.count_available(fleet.current)
    ledger = Ledger(
        budget,
        active=len(fleet.active),
        available=fleet.count_available(fleet.active),
        current_available=available_current,
        current_unavailable=len(fleet.current) - available_current,
    )
    moves = Moves()
    if fleet.healing.until is not None:
        moves.due.append(fleet.healing.until)
        moves.notes.append(f"heal 0 of {len(fleet.healing.held)}: successors were tainted, too")
    if fleet.aging.again is not None:
        moves.due.append(fleet.aging.again)
    if fleet.aging.waiting:
        window = f"; {fleet.aging.window}" if fleet.aging.window else ""
        moves.notes.append(f"{fleet.aging.waiting} due for their age wait{window}")
    if spec.on_taint is OnTaint.QUARANTINE:
        _plan_quarantine(view, fleet, ledger, moves)
    _plan_retirements(view, spec, fleet, budget, ledger, moves)
    _plan_creates(view, fleet, budget, ledger, policy, moves)
    return moves


def _plan_quarantine(view: View, fleet: Fleet, ledger: Ledger, moves: Moves) -> None:
    """Out of traffic at once, whatever the budget: whoever asks for it puts containment first."""
    refused = {r.subject: r for r in view.refusals if r.move is Move.QUARANTINE}
    for instance in fleet.stale:
        if instance.name not in fleet.deviants:
            continue
        ledger.take(available=fleet.available(instance))
        refusal = refused.get(instance.name)
        if refusal and refusal.retry_at > fleet.now:
            moves.due.append(refusal.retry_at)
            continue
        because = str(fleet.why[instance.name])
        moves.quarantines.append(Quarantine(instance.name, instance.uid, because))
    if moves.quarantines:
        moves.notes.append(f"quarantine {len(moves.quarantines)}")


def _plan_retirements(
    view: View, spec: Spec, fleet: Fleet, budget: Budget, ledger: Ledger, moves: Moves
) -> None:
    """Surplus first, then stale instances, unhealthy ones before healthy ones.

    An instance whose retirement was refused keeps its place in the ledger while it waits, and
    comes after those that were tried less often: a blocked one does not hide a free one.
    """
    refused = {r.subject: r for r in view.refusals if r.move is Move.RETIRE}
    held = [r.retry_at for r in refused.values() if r.cause is Cause.DISRUPTION_BUDGET]
    probed = False

    def retire(instance: Instance, because: str) -> None:
        nonlocal probed
        refusal = refused.get(instance.name)
        waits = [refusal.retry_at] if refusal else []
        if held and not instance.ended:
            # Instances of a service mostly share a PodDisruptionBudget: one probe at a time
            # tells whether it still forbids.
            waits.append(max(held))
        if waits and max(waits) > fleet.now:
            moves.due.append(max(waits))
        elif not (held and probed):
            probed = True
            moves.retires.append(Retire(instance.name, instance.uid, because))

    for instance in _ended_to_clear(fleet, budget):
        retire(instance, str(fleet.why.get(instance.name, "it ended")))
    for instance in fleet.quarantined:
        over = (instance.quarantined or 0.0) + spec.quarantine_seconds
        if over <= fleet.now:
            why = fleet.deviants.get(instance.name, "Tainted: it was quarantined")
            retire(instance, f"{why}; its quarantine is over")
        else:
            moves.due.append(over)
    surplus = len(fleet.current) - budget.desired
    for instance in _by_worth(fleet, fleet.current)[: max(0, surplus)]:
        if not fleet.available(instance):
            ledger.retire_unavailable_current()
        elif not ledger.retire_available():
            break
        scaled = f"Scaled: {budget.desired} wanted, {len(fleet.current)} are current"
        retire(instance, str(fleet.deviants.get(instance.name, scaled)))
    kept = fleet.deviants if spec.on_taint is OnTaint.QUARANTINE else {}
    for instance in _stale_in_order(fleet, refused):
        if instance.name in kept:
            continue
        allowed = (
            ledger.retire_available()
            if fleet.available(instance)
            else ledger.retire_unavailable_stale()
        )
        if allowed:
            retire(instance, str(fleet.why[instance.name]))
    chosen = {r.name for r in moves.retires}
    unproven = [i for i in fleet.current if not fleet.available(i) and i.name not in chosen]
    for instance in _by_worth(fleet, unproven)[: ledger.over]:
        retire(instance, f"Scaled: at most {budget.most} may exist")
    if moves.retires:
        leave = {r.name for r in moves.retires}
        left = sum(i.name not in leave for i in fleet.stale)
        moves.notes.append(
            f"retire {len(moves.retires)}: {_tally(r.because for r in moves.retires)};"
            f" {left} stale remain"
        )


def _plan_creates(
    view: View, fleet: Fleet, budget: Budget, ledger: Ledger, policy: Policy, moves: Moves
) -> None:
    """Fill what is missing of the wanted revision, as far as there is room."""
    missing = budget.desired - len(fleet.current)
    if missing <= 0:
        return
    count = min(missing, ledger.room(replacing=bool(fleet.stale)))
    exist = f"{len(fleet.active)} of at most {budget.most} exist"
    if count == 0:
        moves.notes.append(f"create 0 of {missing}: {exist} (surge {budget.surge})")
        return
    refusals = [r for r in view.refusals if _refuses_birth(r, fleet.wanted.id)]
    if refusals:
        latest = max(refusals, key=lambda r: (r.retry_at, r.subject))
        if latest.retry_at > fleet.now:
            moves.due.append(latest.retry_at)
            moves.notes.append(f"create 0 of {missing}: {latest.message}")
            return
        count = 1  # one probe tells whether the refusal still stands
    moves.creates += _births(view, fleet, budget, policy, moves, count)
    if moves.creates:
        tally = _tally(c.because for c in moves.creates)
        moves.notes.append(f"create {len(moves.creates)} of {missing}: {tally}; {exist}")


def _refuses_birth(refusal: Refusal, revision: str) -> bool:
    return (
        refusal.move is Move.CREATE
        and refusal.revision == revision
        and refusal.cause is not Cause.NAME_TAKEN
    )


def _births(
    view: View, fleet: Fleet, budget: Budget, policy: Policy, moves: Moves, count: int
) -> list[Create]:
    """The best ``count`` births: successors of those who leave or should, then empty slots."""
    known = (*view.instances, *view.departed)
    names = {i.name for i in known}
    names |= {r.subject for r in view.refusals if r.cause is Cause.NAME_TAKEN}
    last: dict[int, int] = {}
    paces: dict[int, float] = {}
    for i in known:
        if i.revision == fleet.wanted.id:
            last[i.slot] = max(last.get(i.slot, -1), i.incarnation)
            paces[i.slot] = max(paces.get(i.slot, 0.0), _earliest_successor(i, policy))
    births: list[Create] = []

    def add(slot: int, predecessor: Instance | None, because: str) -> None:
        heals = 0
        if predecessor and predecessor.name in fleet.deviants:
            heals = fleet.healing.heals_after(predecessor, fleet.now, policy)
        incarnation = last.get(slot, -1) + 1
        revision = fleet.wanted.id
        # A name that is taken, by a stranger or by chance, is passed over.
        while (name := instance_name(view.name, view.uid, revision, slot, incarnation)) in names:
            incarnation += 1
        names.add(name)
        replaces = predecessor.name if predecessor else None
        births.append(Create(name, revision, slot, incarnation, replaces, because, heals))

    used = {i.slot for i in fleet.current}
    # Also by one that is stale itself: then that one is who is replaced.
    succeeded = {i.replaces for i in fleet.active if i.replaces}
    departed = sorted(view.departed, key=lambda i: i.name)
    leaving = (*fleet.terminating, *departed, *fleet.quarantined)
    for predecessor in (*leaving, *_latest_ended(fleet), *_stale_in_order(fleet, {})):
        if len(births) == count:
            return births
        if predecessor.slot in used or predecessor.name in succeeded:
            continue
        used.add(predecessor.slot)
        if (at := paces.get(predecessor.slot, 0.0)) > fleet.now:
            moves.due.append(at)
            count -= 1  # its place is taken: no other slot is a way round the pause
            continue
        why = fleet.why.get(predecessor.name)
        add(
            predecessor.slot,
            predecessor,
            str(why) if why else f"Missing: {predecessor.leaving or 'it was deleted'}",
        )
    first = view.prior.last_good_revision is None
    slot = 0
    while len(births) < count and slot < budget.most + len(used):
        if slot not in used:
            cause = f"{budget.desired} wanted, slot {slot} was empty"
            add(slot, None, f"Created: {cause}" if first else f"Missing: {cause}")
        slot += 1
    return births


def _earliest_successor(predecessor: Instance, policy: Policy) -> float:
    """When a successor may be born: at once, but ever later after births that ended quickly.

    A node that turns pods away at admission would otherwise be sent one after the other.
    """
    if not predecessor.ended or predecessor.incarnation == 0:
        return 0.0
    exponent = min(predecessor.incarnation, 16)
    delay = min(policy.retry_ended_base * 2.0**exponent, policy.retry_ended_most)
    return predecessor.born + delay


def _latest_ended(fleet: Fleet) -> list[Instance]:
    """The last ended instance of the wanted revision in each slot."""
    latest: dict[int, Instance] = {}
    for i in fleet.ended:
        known = latest.get(i.slot)
        if i.revision == fleet.wanted.id and (not known or known.incarnation < i.incarnation):
            latest[i.slot] = i
    return list(latest.values())


def _ended_to_clear(fleet: Fleet, budget: Budget) -> list[Instance]:
    """Ended instances that have served their purpose.

    The last one in a slot stays until all is well: its incarnation is what paces the births
    after it, and people look at it to see why it ended.
    """
    if fleet.count_available(fleet.current) >= budget.desired:
        return list(fleet.ended)
    keep = {i.name for i in _latest_ended(fleet)}
    return [i for i in fleet.ended if i.name not in keep]


def _stale_in_order(fleet: Fleet, refused: Mapping[str, Refusal]) -> list[Instance]:
    """Stale instances, first to go first: untried, unhealthy, tainted, succeeded, oldest.

    Until the wanted revision has proved itself, healthy ones of the last good revision come
    after all others, also those of revisions that were wanted in between.
    """
    succeeded = {i.replaces for i in fleet.current if fleet.available(i)}
    fallback = None if fleet.count_available(fleet.current) else fleet.last_good

    def order(i: Instance) -> tuple[bool, int, bool, bool, bool, float, str]:
        available = fleet.available(i)
        attempts = refused[i.name].attempts if i.name in refused else 0
        sound = i.name not in fleet.deviants
        kept = sound and available and i.revision == fallback
        return kept, attempts, available, sound, i.name not in succeeded, i.born, i.name

    return sorted(fleet.stale, key=order)


def _by_worth(fleet: Fleet, instances: Sequence[Instance]) -> list[Instance]:
    """Least worth first: tainted ones, then as a ReplicaSet: unready, cheap, crowded, youngest.

    Of the tainted those go first whose successor is there, and the one goes last that counts most
    replacements: the count is in its birth certificate, and nowhere else. What is forgotten counts
    nothing, or an old one would outlive each of its successors, and nothing would pace them.
    """
    crowd = Counter(i.node for i in fleet.active)
    succeeded = {i.replaces for i in fleet.current if fleet.available(i)}

    def order(i: Instance) -> tuple[bool, bool, int, bool, bool, bool, int, int, float, str]:
        held = i.name in fleet.deviants
        return (
            not held,
            not (held and i.name in succeeded),
            i.heals if i.name in fleet.healing.relapsed else 0,
            fleet.available(i),
            i.ready_since is not None,
            i.node is not None,
            i.deletion_cost,
            -crowd[i.node],
            -i.born,
            i.name,
        )

    return sorted(instances, key=order)


def _tally(reasons: Iterable[str]) -> str:
    """``3 Outdated, 1 Unhealthy`` from full reasons."""
    counts = Counter(reason.partition(":")[0] for reason in reasons)
    return ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
