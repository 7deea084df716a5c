"""The bugs, by name: in which file, what is written there, and what is written instead.

The first list is of bugs that no test noticed once (a review of the code found them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["PLANTED", "Bug"]


@dataclass(frozen=True)
class Bug:
    """``file`` is a path from ``domain/`` on; ``sound`` occurs in it exactly once.

    ``of_nodes``: the tests of pools are tried first.
    """

    file: str
    sound: str
    sick: str
    of_nodes: bool = False


PLANTED: dict[str, Bug] = {
    # Quarantine and the ledger.
    "a quarantined instance still counts as available": Bug(
        "ledger.py",
        "        self._available -= available\n        self._active -= 1\n",
        "        self._active -= 1\n",
    ),
    "a quarantine is not charged to the ledger": Bug(
        "strategies/rolling.py",
        "        ledger.take(available=turn.available(instance))\n",
        "",
    ),
    "an instance to be quarantined is retired at once": Bug(
        "strategies/rolling.py",
        "apart = turn.spec.on_taint is OnTaint.QUARANTINE",
        "apart = False",
    ),
    "a quarantine never ends": Bug(
        "strategies/rolling.py", "if over <= self._turn.now:", "if False:"
    ),
    "two growing revisions spend the surge twice": Bug(
        "strategies/rolling.py", "    ledger.spend(len(born) + len(births.due))\n", ""
    ),
    "a plan's retirements are not spent": Bug(
        "ledger.py",
        "            return False\n        self._available -= 1\n        self._active -= 1\n",
        "            return False\n",
    ),
    "healthy instances are retired before unhealthy ones": Bug(
        "strategies/order.py",
        "return own, kept, attempts, available, sound,",
        "return own, kept, attempts, not available, sound,",
    ),
    "the surge also counts for scaling up": Bug(
        "ledger.py", "self._room if replacing else self._empty", "self._room"
    ),
    "terminating instances never count": Bug(
        "ledger.py",
        "self._room = budget.most - seen.active - seen.terminating",
        "self._room = budget.most - seen.active",
    ),
    "maxUnavailable is spent on an unproven revision": Bug(
        "ledger.py",
        "self.floor = budget.desired if unproven and not covered else budget.fewest_available",
        "self.floor = budget.fewest_available",
    ),
    # Suspend, freezes, requests, clocks.
    "copies are made while suspended": Bug(
        "target.py", "moves=() if view.spec.suspend else tuple(moves)", "moves=tuple(moves)"
    ),
    "a freeze holds before it begins": Bug("freezing.py", "if begins > now:", "if begins < 0:"),
    "a freeze holds after it ended": Bug(
        "freezing.py", "if ends is not None and ends <= now:", "if ends is not None and ends < 0:"
    ),
    "a freeze of repairs also holds exempt instances": Bug(
        "freezing.py",
        "exempt = frozenset(r.instance for r in passing if r.instance is not None)",
        "exempt = frozenset[str]()",
    ),
    "a freeze prevents a rollback to the last good revision": Bug(
        "target.py",
        "asked in (running, latest_completed(view))",
        "asked in (running,)",
    ),
    "a request applies to instances of the same second": Bug(
        "staleness/requested.py",
        "if i.born < request.created and",
        "if i.born <= request.created and",
    ),
    "an instance created for a request is replaced by it": Bug(
        "staleness/requested.py", " and i.purpose != born_for", ""
    ),
    "frozen time counts towards the deadline": Bug(
        "status/progress.py",
        "paused = turn.spec.suspend or turn.target.is_frozen or",
        "paused = turn.spec.suspend or",
    ),
    "held instances count towards the deadline": Bug(
        "status/progress.py", "    paused = paused or bool(fleet.held)\n", ""
    ),
    # Status.
    "ready and regenerating during a rollout": Bug(
        "status/regeneration.py",
        "or not all(reason.is_routine for reason in reasons)",
        "",
    ),
    "ready and regenerating without enough that are available": Bug(
        "status/regeneration.py",
        "if fleet.held or turn.count_available(fleet.active) < turn.budget.fewest_available:",
        "if fleet.held:",
    ),
    "every status write may be deferred": Bug(
        "status/tell.py", "    return essence(old) == essence(new)", "    return True"
    ),
    "every plan renews the transition time of a condition": Bug(
        "status/conditions.py",
        "return before.since if before and before.status == value else now",
        "return now",
    ),
    # Regeneration and healing.
    "held instances count as missing for regeneration": Bug(
        "fleet.py",
        "i for i in active if i.name not in why and i.name not in held]",
        "i for i in active if i.name not in why]",
    ),
    "the duration of a swap is estimated by the fastest": Bug(
        "staleness/age.py", "starts[len(starts) // 2]", "starts[0]"
    ),
    "an instance with any successor is retired": Bug(
        "staleness/age.py",
        "if i.because and i.because.reason.is_stale and ",
        "if i.because and ",
    ),
    "more than maxConcurrent instances are replaced": Bug(
        "staleness/age.py", "for due in ready[: max(0, places)]:", "for due in ready:"
    ),
    "regeneration begins while an instance is missing": Bug(
        "staleness/age.py", "max(busy, short + unready)", "busy"
    ),
    "healing has no pace": Bug(
        "staleness/healing.py", "    if turn.now < until:\n", "    if turn.now < 0:\n"
    ),
    "healing ignores relapses": Bug("staleness/healing.py", "return 1 + max(", "return 0 * max("),
    # Repair, verdicts, records.
    "repair uses the unproven wanted revision": Bug(
        "strategies/repair.py",
        "not is_working(turn, fleet) and _ran(turn, fleet, fallback)",
        "False",
    ),
    "a working revision gets no room": Bug(
        "strategies/rolling.py",
        "        if self._repair is not None:\n            self._make_room",
        "        if False:\n            self._make_room",
    ),
    "a working instance is retired while instances are missing": Bug(
        "strategies/rolling.py", "            if owed and spare <= 0:\n", "            if False:\n"
    ),
    "a working instance is retired while the wanted revision flaps": Bug(
        "strategies/repair.py", "    return until if until > now else None", "    return None"
    ),
    "the fallback is pruned": Bug(
        "history.py",
        "    kept = {r.id for r in (target.wanted, target.fallback, good, asked) if r is not None}",
        "    kept = {r.id for r in (target.wanted, asked) if r is not None}",
    ),
    "an older revision is recreated": Bug(
        "strategies/repair.py",
        "return turn.count_available(own) > 0 or wanted == latest_completed(turn.view)",
        "return turn.count_available(own) > 0",
    ),
    "a failed revision is the fallback": Bug(
        "standing.py", "        and not r.verdict.is_failed\n", ""
    ),
    "what fails is retired before its verdict is on record": Bug(
        "planner.py", "Step() if judged.decides else _step(", "_step("
    ),
    "a failed revision is selected again": Bug(
        "target.py",
        "    if asked.revision is not None and asked.revision.verdict.is_failed:\n",
        "    if False:\n",
    ),
    "an instance that flaps renews the deadline": Bug(
        "failing.py",
        "    if fleet.available_current <= verdict.most_available:\n",
        "    if False:\n",
    ),
    "the deadline runs while a quota holds the rollout back": Bug(
        "failing.py", "        Cause.QUOTA,\n", ""
    ),
    "a crash loop that is not settled is a failure": Bug(
        "families/pods.py", "if trouble is None or not trouble.settled:", "if trouble is None:"
    ),
    "a Secret that is read live fails its revision": Bug(
        "families/pods.py", "trouble.is_final or trouble.lacks in pinned", "trouble.lacks"
    ),
    "the recorded fallback is gone back to for ever": Bug(
        "standing.py", '    recorded = "" if moved_on else', "    recorded ="
    ),
    "a retry is carried out at each plan": Bug(
        "commands.py", "    if not word or word == asked.verdict.retry or", "    if not word or"
    ),
    "a failed revision grows while it is held": Bug(
        "strategies/rolling.py", "    grows = grows and not target.holds_failed\n", ""
    ),
    "a verdict is written at every plan": Bug(
        "verdict.py", "        if new != revision.verdict:\n", "        if True:\n"
    ),
    "a revision is good before all of it is available": Bug(
        "proving.py",
        "return not others and fleet.available >= desired",
        "return not others and fleet.available >= 1",
    ),
    # Checks.
    "a revision is good before its checks have passed": Bug(
        "proving.py", "is_baked and passed", "is_baked"
    ),
    "a check that has no result has passed": Bug(
        "checks.py",
        "passed=record.passed + (answer.found is Finding.PASSED),",
        "passed=record.passed + (answer.found is not Finding.FAILED),",
    ),
    "an answer of another rollout counts": Bug(
        "checks.py",
        "answers = {answer.key: answer for answer in turn.measured}",
        "answers = {(*a.key[:2], started, a.key[3]): a for a in turn.measured}",
    ),
    "a freeze asks checks": Bug(
        "proving.py",
        "if not turn.may_begin or not turn.target.is_asked",
        "if not turn.target.is_asked",
    ),
    "a new rollout begins with the results of the last one": Bug(
        "commands.py", "        checks=(),\n", ""
    ),
    # Canary.
    "a canary has no limit": Bug(
        "goal.py", "    if (count := share(turn)) is not None:\n        return count\n", ""
    ),
    "a step is done before its instances are available": Bug(
        "canary.py", "return fleet.available_current >= count and has_share", "return has_share"
    ),
    "a step is done before the previous instances are gone": Bug(
        "canary.py",
        "has_share = others <= desired - count",
        "has_share = others <= desired",
    ),
    "a step does not wait for its weight": Bug(
        "canary.py", "has_share = in_effect(turn)", "has_share = True"
    ),
    "a weight is given before its instances are available": Bug(
        "weights.py", "done += there >= (share(turn) or 0)", "done += 1"
    ),
    "a failed revision keeps its weight": Bug(
        "weights.py", "or wanted.verdict.is_failed or is_restored(turn):", "or is_restored(turn):"
    ),
    "lost instances keep their weight": Bug(
        "weights.py", "return 0 if not there or serves in", "return 0 if serves in"
    ),
    "a freeze lets a weight grow": Bug(
        "weights.py",
        "isinstance(step, SetWeight) and not turn.target.freeze.holds:",
        "isinstance(step, SetWeight):",
    ),
    "instances go before their weight": Bug(
        "strategies/blue_green.py",
        "own = [i.name for i in fleet.stale if i.revision == sent]",
        "own: list[str] = []",
    ),
    "the preview Service moves on before its weight is 0": Bug(
        "routing.py", "if sent is not None and any(", "if sent is None and any("
    ),
    "a pause until somebody promotes ends at once": Bug(
        "canary.py",
        "    if step.seconds is None or not shows:\n        return None\n",
        "    if step.seconds is None:\n        return turn.now\n",
    ),
    "one promotion ends every later pause": Bug("canary.py", "            approved=None,\n", ""),
    "a step does not wait for its check": Bug(
        "canary.py",
        "return turn.now if shows and all_passed(asked, on_record)",
        "return turn.now if shows",
    ),
    "a freeze lets the steps go on": Bug(
        "canary.py", "held = held or is_frozen(turn, verdict)", "held = held or False"
    ),
    "a step leaves nothing to the previous revision": Bug(
        "strategies/repair.py",
        "owed = max(owed, turn.budget.desired - given - _of_last_good(turn, fleet, fallback))",
        "owed = max(owed, 0)",
    ),
    "what is about to go stands in for the last good revision": Bug(
        "strategies/repair.py",
        "owed = max(owed, turn.budget.desired - given - _of_last_good(turn, fleet, fallback))",
        "owed = max(owed, turn.budget.desired - given"
        " - sum(i.revision != fallback.id for i in fleet.stale))",
    ),
    "a pause goes on without available instances": Bug(
        "canary.py", "if step.seconds is None or not shows:", "if step.seconds is None:"
    ),
    "a smaller share deletes instances past a budget": Bug(
        "strategies/rolling.py", "by_will=by_will > 0)", "by_will=True)"
    ),
    "a scale-down hides the progress of a canary": Bug(
        "canary.py", "            most_available=fleet.available_current,\n", ""
    ),
    "a canary is complete before its last step": Bug(
        "proving.py", "    if is_stepping(turn):\n        return False\n", ""
    ),
    "the last good revision is restored in steps": Bug(
        "goal.py",
        "if wanted == latest_completed(turn.view) or not _replaces_another(turn, wanted):",
        "if not _replaces_another(turn, wanted):",
    ),
    "a pause of a canary delays the regeneration of the others": Bug(
        "strategies/canary.py",
        "return fleet.available_current == count and places <= turn.budget.desired - count",
        "return False",
    ),
    # BlueGreen and the Services.
    "the Service is switched to fewer instances": Bug(
        "routing.py",
        "holds = there < turn.budget.desired and there < _available(turn, found.revision)",
        "holds = False",
    ),
    "a promotion does not wait for its checks": Bug(
        "promotion.py",
        "if verdict.approved is not None and is_full and passed:",
        "if verdict.approved is not None and is_full:",
    ),
    "a promotion does not wait for all instances": Bug(
        "promotion.py",
        "if verdict.approved is not None and is_full and passed:",
        "if verdict.approved is not None and passed:",
    ),
    "a freeze lets promotions pass": Bug(
        "promotion.py",
        "if not turn.target.is_asked or is_frozen(turn, verdict):",
        "if not turn.target.is_asked:",
    ),
    "previous instances go before the Service is switched": Bug(
        "strategies/blue_green.py", "    if is_switched(turn, live):\n", "    if True:\n"
    ),
    "kept instances hold back the previews": Bug(
        "strategies/blue_green.py",
        "    if missing > 0 and len(fleet.active) + missing > _most(turn):\n",
        "    if missing > len(fleet.active) + _most(turn):\n",
    ),
    "an edited check keeps its results": Bug(
        "checks.py",
        "if found is None or (check.digest and found.digest and check.digest != found.digest):",
        "if found is None:",
    ),
    # Births.
    "a predecessor gets two successors": Bug(
        "strategies/births.py",
        "            if not predecessor.is_among(self._succeeded) and (goes",
        "            if (goes",
    ),
    "modified successors of an instance that holds its place do not count": Bug(
        "strategies/births.py",
        "[i for i in own if i.predecessor and i.name in fleet.deviations]",
        "[]",
    ),
    # Nodes that are taken away, and drain protection.
    "a successor that tolerates the end of its node is evacuated again": Bug(
        "staleness/evacuating.py",
        "if end is None or instance.born >= _known_since(instance, end):",
        "if end is None:",
    ),
    "a cordon evacuates without drain protection": Bug(
        "staleness/evacuating.py",
        "    if not end.announced and not spec.drain_protection:\n        return None\n",
        "",
    ),
    "instances on a cordoned node are retired": Bug(
        "strategies/rolling.py",
        "if self._waits_for_eviction(instance) and beyond <= 0:",
        "if False:",
    ),
    "what works stays on the node while a release is stuck": Bug(
        "strategies/repair.py",
        "return instance.name in fleet.leaving or (self.heals and fleet.heals(instance))",
        "return self.heals and fleet.heals(instance)",
    ),
    "a removed taint does not end an evacuation": Bug(
        "staleness/age.py", " and i.because.reason is not Reason.EVACUATING", ""
    ),
    "a second budget is created over the same pods": Bug(
        "protection.py", " or not least or _conflict(turn) is not None:", " or not least:"
    ),
    "the next modified instance does not wait for the try before": Bug(
        "staleness/healing.py", "(*relapsed, *_tries(instances))", "relapsed"
    ),
    "a name that is taken is tried again": Bug(
        "strategies/births.py",
        " {r.subject for r in view.refusals if r.cause is Cause.NAME_TAKEN}",
        " set()",
    ),
    "an ended instance is recreated without a pause": Bug(
        "strategies/births.py",
        "    return predecessor.born + policy.retry_ended.after(predecessor.tries)",
        "    return 0.0",
    ),
    "the number of moves of a plan is unlimited": Bug(
        "strategies/rolling.py",
        "count = min(growth.missing, room, turn.policy.most_moves)",
        "count = min(growth.missing, room)",
    ),
    "all births are retried at once after a refusal": Bug(
        "strategies/rolling.py",
        "        count = 1  # one probe checks whether the refusal still applies\n",
        "",
    ),
    "every instance is tried against a blocking budget": Bug(
        "strategies/rolling.py", "elif not (probes and self._probed):", "else:"
    ),
    "no plan is due when an instance becomes available": Bug(
        "planner.py", "        turn.next_available(fleet.active),\n", ""
    ),
    "no plan is due when a freeze changes": Bug("planner.py", "        target.freeze.again,\n", ""),
    # Secrets.
    "a grant replaces the instances that read live": Bug(
        "config/snapshots.py",
        "        if before is None and key[0] == SECRET:\n            continue\n",
        "",
    ),
    "a lost key replaces all instances": Bug(
        "config/snapshots.py",
        "before if before and before in config.same.get(key, ()) else digest",
        "digest",
    ),
    "a grant that is taken back replaces all instances": Bug(
        "config/snapshots.py", "if pin.key in view.withheld and kept:", "if False and kept:"
    ),
    "a revision without copies is believed in without a grant": Bug(
        "config/snapshots.py",
        "if pin.key in view.withheld and kept:",
        "if pin.key in view.withheld:",
    ),
    "equal Secrets have equal digests": Bug(
        "config/keyed.py", ', "name": name, "namespace": namespace}', "}"
    ),
    # What becomes of revisions, for notifications and metrics.
    "a revision that is restored is good once more before it is complete": Bug(
        "outcomes.py", " and not verdict.is_under_way:", ":"
    ),
    "each change of a record tells again what was known": Bug(
        "outcomes.py", "known = set(outcomes(before))", "known: set[object] = set()"
    ),
}

# The oracles of the world of pools notice each of them.
_OF_NODES: dict[str, Bug] = {
    "a node is verified before it has what it needs": Bug(
        "families/verifying.py",
        "        if machine.lacks or machine.ready_since is None:",
        "        if machine.ready_since is None:",
    ),
    "a node is verified before it settled": Bug(
        "families/verifying.py", "        if settled > self.now:", "        if settled < 0:"
    ),
    "a node is verified before its smoke pod succeeded": Bug(
        "families/verifying.py", 'machine.smoke != "Succeeded":', "not machine.smoke:"
    ),
    "the pods of a retired node are deleted, not evicted": Bug(
        "families/draining.py", "by_force=gives_up", "by_force=True"
    ),
    "a drain deletes pods after its timeout though it has to wait": Bug(
        "families/draining.py", "gives_up = over and self.pool.delete_after", "gives_up = over"
    ),
    "a retired node is deleted with pods on it": Bug(
        "families/draining.py", "        if not left or (gives_up", "        if True or (gives_up"
    ),
    "a change of a node in place is not seen": Bug(
        "families/nodes.py",
        "if before and after and before != after:",
        'if before and after == "":',
    ),
    "a deleted pool never lets its finalizer go": Bug(
        "families/nodes.py",
        "waits = pool.drains and not view.deleting",
        "waits = pool.drains",
    ),
    "a node counts as available before it is verified": Bug(
        "../instances/nodes/observe.py",
        "works = verified is not None and ready is not None and not machine.held",
        "works = ready is not None",
    ),
    "a drain evicts the pods of DaemonSets": Bug(
        "../instances/nodes/observe.py",
        "if own or guest.made_by == DAEMON_SET or guest.mirror or over:",
        "if own or guest.mirror or over:",
    ),
    "a node that is drained is no machine": Bug(
        "../wire/pool_spec.py", "counts_terminating=True", "counts_terminating=False"
    ),
    "a new pool takes over the nodes of a deleted one": Bug(
        "../instances/nodes/simulated.py",
        "for node in self._nodes.of(owner.uid):",
        "for node in filter(lambda n: n.meta.labels.get(LABEL_POOL) == owner.name,"
        " self._nodes.all.values()):",
    ),
    "taints of others are dropped": Bug(
        "../instances/nodes/driver.py",
        "kept = [other for other in node.taints if other.key != key]",
        "kept: list[Taint] = []",
    ),
    "pods are evicted from a node whoever has their name": Bug(
        "../instances/nodes/driver.py",
        'precondition = {"preconditions": {"uid": move.uid}}',
        'precondition = {"preconditions": {}}',
    ),
    "any change of a successor counts as that of its predecessor": Bug(
        "staleness/healing.py",
        "return before is None or bool(family.signals(before) & family.signals(because))",
        "return True",
    ),
    "nodes that change like their predecessors are replaced as often as pods": Bug(
        "families/nodes.py",
        "return Relapse(policy.heal_nodes, policy.heal_nodes_memory)",
        "return Relapse(policy.heal, policy.heal_memory)",
    ),
    "a claim that Karpenter deletes is no failed try": Bug(
        "families/nodes.py", "_failed(_given_up(i, view), spec, now)", "_failed(i, spec, now)"
    ),
    "a node that gets into a pool is forgotten": Bug(
        "../instances/nodes/watched.py",
        "        self._by_name[item.name] = item\n        self._ends",
        "        if item.uid in self._by_uid and not item.owner:\n"
        "            self._by_name[item.name] = item\n        self._ends",
    ),
    "a machine from another image is verified": Bug(
        "../wire/claim.py",
        'return "" if same or not wanted or not self.image else self.image',
        'return "" if same or wanted or not self.image else self.image',
    ),
    "a claim with a node is deleted without a drain": Bug(
        "../instances/nodes/driver.py",
        "        if node is None:\n            if provider is not None:",
        "        if node is None or provider.name == 'karpenter':\n"
        "            if provider is not None:",
    ),
    "the deadline runs while there is no capacity": Bug(
        "failing.py",
        "known = (*fleet.current, *fleet.ended, *lost)",
        "known = (*fleet.current, *fleet.ended)",
    ),
    "a node is retired when the successor of another one is verified": Bug(
        "families/nodes.py", "is_one_to_one = True", "is_one_to_one = False"
    ),
    "a node is retired before others are available": Bug(
        "ledger.py",
        "return self._available - 1 >= self.floor",
        "return self._available >= 0",
    ),
}

PLANTED |= {name: replace(bug, of_nodes=True) for name, bug in _OF_NODES.items()}
