"""The log of the operator: each line is a record, whichever part writes it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAD = """
import asyncio, logging, threading, warnings
from immutable_operator.runtime.logs import configure_logs
configure_logs("json")

def fail():
    raise ValueError("two\\nlines")

class Closing:
    def __del__(self):
        fail()
"""


@pytest.mark.parametrize(
    ("program", "level"),
    [
        ("Closing()", "warning"),
        ("warnings.warn('two\\nlines')", "warning"),
        ("t = threading.Thread(target=fail); t.start(); t.join()", "error"),
        ("logging.getLogger('of a library').error('two\\nlines')", "error"),
        ("async def main(): fail()\nasyncio.run(main())", "critical"),
        ("fail()", "critical"),
    ],
)
def test_everything_in_the_log_is_a_record(program: str, level: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program], capture_output=True, text=True, check=False
    )
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert [r["level"] for r in records] == [level]
    assert "two\nlines" in f"{records[0]['event']} {records[0].get('exception')}"
    assert done.returncode == (level == "critical")
