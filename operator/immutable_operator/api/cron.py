"""Cron fields and time zones as users write them; the operator checks what no pattern can."""

from typing import Annotated

from pydantic import Field

__all__ = ["CronText", "ZoneName"]

CronText = Annotated[
    str, Field(pattern=r"^[0-9A-Za-z*/,#?L-]+( [0-9A-Za-z*/,#?L-]+){4}$", max_length=100)
]
"""Five cron fields, separated by single spaces."""

ZoneName = Annotated[
    str, Field(pattern="^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", max_length=64)
]
"""An IANA time zone."""
