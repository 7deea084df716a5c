"""What a move is called in logs, metrics and refusals."""

from __future__ import annotations

from immutable_operator.domain.model import (
    Action,
    Admit,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    DeleteRoute,
    End,
    Evict,
    Mark,
    Move,
    Probe,
    Protect,
    Quarantine,
    Retire,
    SetBudget,
    SetRoute,
    SetVerdict,
    SetWeights,
)

__all__ = ["because_of", "identify"]


def identify(action: Action) -> tuple[Move, str, str | None]:
    """Return the kind of a move, its subject, and the revision of a birth."""
    match action:
        case Create():
            return Move.CREATE, action.name, action.revision
        case Retire():
            return Move.RETIRE, action.name, None
        case Quarantine():
            return Move.QUARANTINE, action.name, None
        case CreateRevision():
            return Move.RECORD, action.id, None
        case CreateSnapshot():
            return Move.SNAPSHOT, action.pin.snapshot, None
        case SetVerdict():
            return Move.VERDICT, action.revision.name, None
        case DeleteRevision():
            return Move.FORGET, action.name, None
        case SetBudget():
            return Move.BUDGET, "", None
        case DeleteBudget():
            return Move.BUDGET, action.name, None
        case SetRoute() | DeleteRoute():
            return Move.ROUTE, action.name, None
        case SetWeights():
            return Move.WEIGHTS, action.name, None
        case Admit():
            return Move.ADMIT, action.name, None
        case Mark():
            return Move.MARK, action.name, None
        case Probe():
            return Move.PROBE, action.name, None
        case Evict():
            return Move.EVICT, f"{action.namespace}/{action.pod}", None
        case End():
            return Move.END, action.name, None
        case Protect():
            return Move.PROTECT, "", None


def because_of(action: Action) -> tuple[str, str]:
    """Return the reason in a word, and the reason with its cause."""
    match action:
        case Create() | Retire() | Quarantine():
            return action.because.reason, str(action.because)
        case CreateRevision():
            return action.reason, action.reason
        case CreateSnapshot():
            return "Pinned", f"Pinned: copy of {action.pin.kind} {action.pin.name}"
        case SetVerdict():
            phase, reason = action.verdict.phase, action.verdict.reason
            same = phase is action.revision.verdict.phase
            return "Noted" if same else phase, f"Verdict: {phase}{f' ({reason})' if reason else ''}"
        case SetBudget():
            return "Protected", f"Protected: at least {action.min_available} must stay available"
        case DeleteBudget():
            return "Protected", "Protected: its budget is no longer needed"
        case SetRoute():
            whom = f"revision {action.revision}" if action.revision else "all instances"
            return "Routed", f"Routed: Service {action.name} selects {whom}"
        case DeleteRoute():
            return "Routed", f"Routed: Service {action.name} is no longer needed"
        case SetWeights():
            gets = f"{action.percent} % of the traffic goes to the preview"
            return "Routed", f"Routed: by HTTPRoute {action.name} {gets}"
        case Admit():
            return "Verified", "Verified: it is ready for workloads"
        case Mark():
            return "Tainted", f"Tainted: {action.what}"
        case Probe():
            return "Verified", "Verified: its smoke pod can start"
        case Evict():
            how = "deleted, because the drain has timed out" if action.by_force else "evicted"
            return "Drained", f"Drained: from {action.name}, {how}"
        case End():
            return "Drained", "Drained: no pod is left to evict"
        case Protect():
            what = "its deletion waits for its nodes" if action.waits else "it can be deleted"
            return "Protected", f"Protected: {what}"
        case DeleteRevision():
            return "History", "History: more revisions than historyLimit"
