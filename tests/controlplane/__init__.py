"""The test bed: a real Kubernetes control plane with simulated nodes, on free local ports.

Start with `ControlPlane.start` (one for a whole test run), or from a shell with
``python -m tests.controlplane start``. Faults of pods and nodes: see ``stages/README.md``.
"""

from tests.controlplane.audit import AuditLog, AuditRecord
from tests.controlplane.cluster import ControlPlane, StartError

__all__ = ["AuditLog", "AuditRecord", "ControlPlane", "StartError"]
