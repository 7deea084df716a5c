"""What users write: pydantic models of the custom resources, one file a kind, and their CRDs.

Models are for the edges. `validate_service` is the door through which a spec enters the operator;
crds/ is generated from the same models by `python -m immutable_operator.api.crd`.
"""

from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.revision import ImmutableRevisionSpec
from immutable_operator.api.service import (
    ImmutableServiceSpec,
    ImmutableServiceStatus,
    Rollout,
    validate_service,
)

__all__ = [
    "ImmutableRevisionSpec",
    "ImmutableServiceSpec",
    "ImmutableServiceStatus",
    "InvalidSpec",
    "Rollout",
    "validate_service",
]
