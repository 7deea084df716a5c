"""The data types that go into a plan and come out of it: frozen, without live objects."""

from immutable_operator.domain.model.backoff import Backoff
from immutable_operator.domain.model.because import Because, Evidence, Reason
from immutable_operator.domain.model.budget import DisruptionBudget, budget_name
from immutable_operator.domain.model.command import Outcome, Request
from immutable_operator.domain.model.config import (
    ABSENT,
    CONFIG_MAP,
    SECRET,
    ConfigKey,
    Pin,
    Source,
)
from immutable_operator.domain.model.freeze import Freeze
from immutable_operator.domain.model.guard import Guard
from immutable_operator.domain.model.instance import (
    Instance,
    Trouble,
    TroubleKind,
    purpose_of_request,
    purpose_of_slot,
    slot_of,
)
from immutable_operator.domain.model.machine import (
    FACTS,
    Guest,
    GuestKind,
    Machine,
    OnDrift,
    PoolSpec,
)
from immutable_operator.domain.model.moves import (
    Action,
    Create,
    CreateRevision,
    CreateSnapshot,
    DeleteBudget,
    DeleteRevision,
    Plan,
    Quarantine,
    Retire,
    SetBudget,
    SetVerdict,
)
from immutable_operator.domain.model.node_end import NodeEnd
from immutable_operator.domain.model.owner import OnTaint, Policy, Spec
from immutable_operator.domain.model.refusal import Cause, Move, Refusal
from immutable_operator.domain.model.revision import (
    Digests,
    Phase,
    Revision,
    Verdict,
    instance_name,
    next_number,
    revision_id,
    revision_name,
    snapshot_name,
)
from immutable_operator.domain.model.status import (
    Announcement,
    Blocker,
    Condition,
    Deviation,
    Rollout,
    Status,
)
from immutable_operator.domain.model.view import View

__all__ = [
    "ABSENT",
    "CONFIG_MAP",
    "FACTS",
    "SECRET",
    "Action",
    "Announcement",
    "Backoff",
    "Because",
    "Blocker",
    "Cause",
    "Condition",
    "ConfigKey",
    "Create",
    "CreateRevision",
    "CreateSnapshot",
    "DeleteBudget",
    "DeleteRevision",
    "Deviation",
    "Digests",
    "DisruptionBudget",
    "Evidence",
    "Freeze",
    "Guard",
    "Guest",
    "GuestKind",
    "Instance",
    "Machine",
    "Move",
    "NodeEnd",
    "OnDrift",
    "OnTaint",
    "Outcome",
    "Phase",
    "Pin",
    "Plan",
    "Policy",
    "PoolSpec",
    "Quarantine",
    "Reason",
    "Refusal",
    "Request",
    "Retire",
    "Revision",
    "Rollout",
    "SetBudget",
    "SetVerdict",
    "Source",
    "Spec",
    "Status",
    "Trouble",
    "TroubleKind",
    "Verdict",
    "View",
    "budget_name",
    "instance_name",
    "next_number",
    "purpose_of_request",
    "purpose_of_slot",
    "revision_id",
    "revision_name",
    "slot_of",
    "snapshot_name",
]
