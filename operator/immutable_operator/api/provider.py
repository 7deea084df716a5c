"""Providers: where the nodes of a pool come from."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from immutable_operator.api.cel import Rule, quote
from immutable_operator.api.duration import Duration
from immutable_operator.api.kind import ApiModel
from immutable_operator.api.node_template import LabelKey, LabelValue
from immutable_operator.api.quantity import Resources

__all__ = [
    "BOTH",
    "MIN_VALUES",
    "NEED_VALUES",
    "NO_PROVIDER",
    "NO_VALUES",
    "ONE_NUMBER",
    "Karpenter",
    "Provider",
    "Simulated",
]

NO_PROVIDER: Final = "no provider is set, or one that does not exist; set simulated or karpenter"
BOTH: Final = "both simulated and karpenter are set, and a pool has one provider; remove one"
_OTHER: Final = (
    "the provider of a pool cannot be changed, because only it can remove the nodes that exist; "
    "create another pool"
)
NEED_VALUES: Final = "the operators In and NotIn need values; set values, or use Exists"
NO_VALUES: Final = "the operators Exists and DoesNotExist have no values; remove values"
ONE_NUMBER: Final = (
    "the operators Gt and Lt need one whole number; set values to a list such as ['4']"
)
MIN_VALUES: Final = "minValues is greater than the number of values; decrease it or add values"


class Simulated(ApiModel):
    """Nodes that only exist in the API server, for demonstrations and tests; KWOK runs them."""

    capacity: Resources = Field(default={"cpu": "8", "memory": "32Gi", "pods": "110"})
    """Resources of each node, by name. Default: cpu 8, memory 32Gi, pods 110."""


class NodeClassReference(ApiModel):
    """Reference to an object with the settings of a cloud provider."""

    group: Annotated[str, Field(min_length=1, max_length=253)]
    """API group of the node class, such as karpenter.k8s.aws."""
    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """Kind of the node class, such as EC2NodeClass."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the node class."""


class Requirement(ApiModel):
    """A condition that the labels of each node fulfil, such as the instance type or the zone."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
            NEED_VALUES,
        ),
        Rule(
            "!(self.operator in ['Exists', 'DoesNotExist']) || "
            "!has(self.values) || size(self.values) == 0",
            NO_VALUES,
        ),
        Rule(
            "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && size(self.values) == 1 && "
            "self.values[0].matches('^[0-9]+$'))",
            ONE_NUMBER,
        ),
        Rule(
            "!has(self.minValues) || self.operator != 'In' || !has(self.values) || "
            "self.minValues <= size(self.values)",
            MIN_VALUES,
        ),
    )

    key: LabelKey
    """Key of the label, such as node.kubernetes.io/instance-type."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """How the label is compared with values: In, NotIn, Exists, DoesNotExist, Gt or Lt."""
    values: Annotated[list[LabelValue], Field(max_length=100)] | None = None
    """Values of the label: at least one for In and NotIn, none for Exists and DoesNotExist, one
    whole number for Gt and Lt."""
    min_values: (
        Annotated[int, Field(strict=True, ge=1, le=50, json_schema_extra={"format": "int32"})]
        | None
    ) = None
    """Minimum number of different values that Karpenter must be able to choose from, 1 to 50."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        values = self.values or []
        match self.operator:
            case "In" | "NotIn":
                if not values:
                    raise ValueError(NEED_VALUES)
            case "Exists" | "DoesNotExist":
                if values:
                    raise ValueError(NO_VALUES)
            case _:
                number = values[0] if len(values) == 1 else ""
                if not (number.isascii() and number.isdigit()):
                    raise ValueError(ONE_NUMBER)
        if self.operator == "In" and self.min_values and self.min_values > len(values):
            raise ValueError(MIN_VALUES)
        return self


class Requested(ApiModel):
    """Resources that each node must have."""

    requests: Resources | None = None
    """Minimum resources of each node, by name, such as {cpu: "4", memory: 16Gi}."""


class Karpenter(ApiModel):
    """Nodes for which Karpenter starts machines: the operator creates a NodeClaim for each."""

    node_class_ref: NodeClassReference
    """The node class with the settings of the cloud provider."""
    requirements: Annotated[list[Requirement], Field(max_length=64)] | None = None
    """Conditions that the labels of each node fulfil, such as instance types and zones."""
    resources: Requested | None = None
    """Resources that each node must have."""
    termination_grace_period: Duration | None = None
    """How long Karpenter waits for the pods of a node that is being deleted; then it deletes them,
    even if a PodDisruptionBudget does not allow it: a whole number with the unit s, m, h
    or d, such as 1h. If unset, it waits without limit."""


class Provider(ApiModel):
    """Where the nodes come from: exactly one of the fields."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.simulated) != has(self.karpenter)",
            f"has(self.simulated) ? {quote(BOTH)} : {quote(NO_PROVIDER)}",
            computed=True,
        ),
        Rule("has(self.simulated) == has(oldSelf.simulated)", _OTHER),
    )

    simulated: Simulated | None = None
    """Nodes that only exist in the API server, for demonstrations and tests; KWOK runs them."""
    karpenter: Karpenter | None = None
    """Nodes for which Karpenter starts machines: the operator creates a NodeClaim for each."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.simulated is None) == (self.karpenter is None):
            raise ValueError(NO_PROVIDER if self.simulated is None else BOTH)
        return self
