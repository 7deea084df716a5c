"""How many instances are wanted, and whether the spec may have so many."""

from __future__ import annotations

from immutable_operator.domain.model import Obstacle, Spec, View
from immutable_operator.domain.standing import running_revision

__all__ = ["NODE_LOCAL", "SHARED_VOLUMES", "desired_number", "kept_state"]

NODE_LOCAL = "NodeLocal"
SHARED_VOLUMES = "SharedVolumes"


def desired_number(view: View) -> int:
    """Return the wanted number: that of the spec, else the number that runs, else 1.

    After a restart the record of the revision has the number; otherwise the slots of the running
    instances are counted: a successor has the slot of its predecessor.
    """
    if view.spec.replicas is not None:
        return view.spec.replicas
    if view.desired_before is not None:
        return view.desired_before
    running = running_revision(view)
    if running is not None and running.verdict.replicas is not None:
        return running.verdict.replicas
    living = [i for i in (*view.instances, *view.departed) if not i.terminating]
    if living:
        return len({i.slot for i in living})
    return 1 if not view.revisions else max(1, len(view.instances))


def kept_state(spec: Spec, desired: int) -> Obstacle | None:
    """Return why instances of the spec would not be stateless, although it does not permit that."""
    if spec.node_local:
        return Obstacle(NODE_LOCAL, spec.node_local)
    if spec.claim and desired > 1:
        return Obstacle(SHARED_VOLUMES, spec.claim)
    return None
