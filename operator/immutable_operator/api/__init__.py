"""Pydantic models of the custom resources, one file for each kind, and their CRDs.

The operator reads each spec with `validate_service` or `validate_pool`.
`python -m immutable_operator.api.crd` generates crds/ from the same models.
"""

from immutable_operator.api.errors import InvalidSpec
from immutable_operator.api.nodepool import (
    ImmutableNodePoolSpec,
    ImmutableNodePoolStatus,
    validate_pool,
)
from immutable_operator.api.revision import ImmutableRevisionSpec
from immutable_operator.api.service import (
    ImmutableServiceSpec,
    ImmutableServiceStatus,
    Rollout,
    validate_service,
)

__all__ = [
    "ImmutableNodePoolSpec",
    "ImmutableNodePoolStatus",
    "ImmutableRevisionSpec",
    "ImmutableServiceSpec",
    "ImmutableServiceStatus",
    "InvalidSpec",
    "Rollout",
    "validate_pool",
    "validate_service",
]
