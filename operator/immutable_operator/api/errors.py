"""The error of a spec that cannot be wanted, worded for the person who wrote it."""

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
