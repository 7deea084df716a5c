"""Cron expressions that are accepted, and those that are refused, by the reason.

They are tried on the operator's own reader (test_api_cron.py) and on the API server
(tests/cluster/test_schedules.py).
"""

__all__ = ["BACKWARDS", "BAD", "GOOD", "NEVER"]

GOOD = [
    "0 3 * * SUN",
    "*/5 * * * *",
    "0 3 ? * SUN",
    "? ? ? ? ?",
    "0,30 8-18/2 1,15 JAN-MAR mon-fri",
    "00 03 L * *",
    "0 3 LW * ?",
    "0 3 * * 5L",
    "0 3 * * 05L,1",
    "0 3 L/2 * *",
    "0 3 * * MON#1",
    "0 3 * * 7",
    "5/10 0 * * *",
    "0 3 30 2 MON",
    "0 3 29 FEB *",
    "0 3 31 1,2 *",
    "0  3 *   * SUN",
    " 0 3 * * SUN ",
]
NEVER = [
    "0 3 30 2 *",
    "0 3 31 2 ?",
    "0 3 30,31 FEB *",
    "0 3 31 4 *",
    "0 3 31 sep,nov */2",
    "0 3 31/2 6 *",
    "0 3 30-30 02 *",
]
BAD = [
    *("", "every day", "0 3 * *", "0 0 3 * * *", "@daily", "0 3 * * SUN; rm"),
    *("60 3 * * *", "0 24 * * *", "0 3 0 * *", "0 3 32 * *", "0 3 * 13 *", "0 3 * 0 *"),
    *("0 3 * * 8", "0 3 * * SUNDAY", "0 3 * FEBRUARY *", "0 3 * * 1#6", "0 3 * * 1#0"),
    *(
        "*/0 3 * * *",
        "0 3- * * *",
        "0 3, * * *",
        "-1 3 * * *",
        "0 3 W * *",
        "0 3 * L *",
        "1.5 3 * * *",
    ),
]
BACKWARDS = ["0 18-8 * * *", "0 3 * * FRI-MON", "0 3 * DEC-JAN *", "0 3 20-10 * *"]
