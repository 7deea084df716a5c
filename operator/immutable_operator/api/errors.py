"""The error for an invalid spec, worded for the author of the spec."""

__all__ = ["InvalidSpec"]


class InvalidSpec(ValueError):
    """A spec that the operator refuses.

    Attributes
    ----------
    problems
        One sentence each: where, what, why, and the one thing to do.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))
