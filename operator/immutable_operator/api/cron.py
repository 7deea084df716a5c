"""Cron fields and time zones as users write them, and the CEL rules that check them at admission.

The rules accept everything that the operator can read (tests/unit/test_api_cron.py). The operator
checks what CEL cannot, for example whether a time zone exists.
"""

from typing import Annotated, Final

from pydantic import Field

from immutable_operator.api.cel import Rule, validations

__all__ = ["CRON_RULES", "FIELDS", "FIVE", "NEVER", "NO_ZONE", "ZONE", "CronText", "ZoneName"]

DAYS: Final = "SUN MON TUE WED THU FRI SAT"
MONTHS: Final = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
AREAS: Final = (
    *("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil"),
    *("Canada", "Chile", "Etc", "Europe", "Indian", "Mexico", "Pacific", "US"),
)


_STEP = "(/0*[1-9][0-9]*)?"


def _field(value: str, special: str = "") -> str:
    """Give the regular expression of a list of values, ranges and steps."""
    item = rf"([*?]|({value})(-({value}))?){_STEP}{special}"
    return rf"({item})(,({item}))*"


_DAY = "0*([1-9]|[12][0-9]|3[01])"
_WEEKDAY = f"0*[0-7]|{DAYS.replace(' ', '|')}"
FIELDS: Final = {
    "minute": (_field("0*[1-5]?[0-9]"), "0 to 59"),
    "hour": (_field("0*(1?[0-9]|2[0-3])"), "0 to 23"),
    "day-of-month": (_field(_DAY, f"|LW?{_STEP}"), "1 to 31, or L for the last day"),
    "month": (_field(f"0*([1-9]|1[0-2])|{MONTHS.replace(' ', '|')}"), "1 to 12, or JAN to DEC"),
    "day-of-week": (_field(_WEEKDAY, f"|({_WEEKDAY})#0*[1-5]|0*[0-7]L"), "0 to 7, or SUN to SAT"),
}
"""Each field with its regular expression (not case-sensitive) and its allowed values."""

FIVE: Final = r"^\s*\S+(\s+\S+){4}\s*$"

_EVERY = r"[*?]\S*"


def _never(day: str, month: str) -> str:
    days, months = (rf"({part})(,({part}))*" for part in (rf"0*{day}(-0*{day})?(/[0-9]+)?", month))
    return rf"\S+\s+\S+\s+{days}\s+{months}\s+{_EVERY}"


NEVER: Final = (
    rf"(?i)^\s*({_never('3[01]', '0*2|FEB')}|"
    rf"{_never('31', '0*(2|4|6|9|11)|FEB|APR|JUN|SEP|NOV')})\s*$"
)
"""Matches days that none of the listed months has, with any day of the week."""


def _in_place(index: int, field: str) -> str:
    return rf"(?i)^\s*(\S+\s+){{{index}}}({field})(\s+\S+){{{4 - index}}}\s*$"


def _matches(pattern: str) -> str:
    return f"self.matches(r'{pattern}')"


_EXAMPLE = (
    "write five fields (minute hour day-of-month month day-of-week), such as 0 3 * * SUN for"
    " Sundays at 3 o'clock"
)
_names = f"'{DAYS} {MONTHS}'"
CRON_RULES: Final = (
    Rule(_matches(FIVE), f"a schedule must have five fields; {_EXAMPLE}"),
    *(
        Rule(
            f"!{_matches(FIVE)} || {_matches(_in_place(index, field))}",
            f"the {name} is not valid: use *, or values from {told}, also as lists (1,3), ranges"
            f" (1-5) and steps (*/2); {_EXAMPLE}",
        )
        for index, (name, (field, told)) in enumerate(FIELDS.items())
    ),
    Rule(
        "self.findAll('[0-9]+-[0-9]+').all(r, int(r.split('-')[0]) <= int(r.split('-')[1])) && "
        "self.upperAscii().findAll('[A-Z]{3}-[A-Z]{3}').all(r, "
        f"{_names}.indexOf(r.substring(0, 3)) <= {_names}.indexOf(r.substring(4)))",
        "a range ends before it begins; swap its ends, or write a list",
    ),
    Rule(
        f"!{_matches(NEVER)}",
        "this never matches, because none of the months has such a day; use another day, or L for"
        " the last day of each month",
    ),
)

CronText = Annotated[
    str,
    Field(
        max_length=100,
        json_schema_extra=validations(*CRON_RULES),
    ),
]
"""Five cron fields."""

ZONE: Final = rf"^(({'|'.join(AREAS)})(/[A-Za-z0-9_+-]+)+|[A-Z][A-Za-z0-9+-]*)$"

NO_ZONE: Final = "this is not a valid time zone"

ZoneName = Annotated[
    str,
    Field(
        max_length=64,
        json_schema_extra=validations(
            Rule(_matches(ZONE), f"{NO_ZONE}; use an IANA name, such as Europe/Berlin or UTC")
        ),
    ),
]
"""An IANA time zone."""
