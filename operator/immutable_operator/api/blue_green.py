"""How a revision is promoted that was created beside the running one."""

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from immutable_operator.api.cel import Rule
from immutable_operator.api.duration import Duration
from immutable_operator.api.kind import ApiModel
from immutable_operator.api.scaling import INT32_MAX

__all__ = ["NEEDS_TRAFFIC", "OF_BLUE_GREEN", "PROMOTE_AFTER", "BlueGreen"]

NEEDS_TRAFFIC: Final = (
    "strategy BlueGreen switches the Service of the operator, so it needs spec.traffic; add"
    " spec.traffic, or use strategy Rolling"
)
OF_BLUE_GREEN: Final = (
    "blueGreen has an effect only with strategy BlueGreen; remove it, or set strategy: BlueGreen"
)
PROMOTE_AFTER: Final = (
    "promoteAfter has no effect with promotion Manual; remove it, or set promotion: Auto"
)


class BlueGreen(ApiModel):
    """When a new revision gets the traffic, and how long the previous one is kept."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.promoteAfter) || self.promotion == 'Auto'", PROMOTE_AFTER),
    )

    promotion: Literal["Manual", "Auto"] = "Manual"
    """What promotes a new revision, once all of its instances are available. Manual: an
    ImmutableAction of type Promote (kubectl immutable promote). Auto: promotion follows after
    promoteAfter. Default Manual."""

    promote_after: Duration | None = None
    """With promotion Auto, how long after all instances of the new revision became available it is
    promoted: a whole number with the unit s, m, h or d. Default: at once."""

    preview_replicas: Annotated[int, Field(strict=True, ge=1, le=INT32_MAX)] | None = None
    """Number of instances of a new revision that are created to preview it, at most spec.replicas.
    The others are created when its promotion is decided, before the traffic is switched. Default:
    spec.replicas.
    """

    keep_for: Duration = "60s"
    """How long the instances of the previous revision are kept after a promotion, so that a
    rollback needs no new instances: a whole number with the unit s, m, h or d. Default 60s."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.promote_after is not None and self.promotion == "Manual":
            raise ValueError(PROMOTE_AFTER)
        return self
