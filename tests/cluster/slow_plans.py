"""The operator as it is with thousands of services: all plans take longer than a lease."""

from __future__ import annotations

import time
from typing import Any

from immutable_operator.domain.planner import plan
from immutable_operator.runtime import loop, main

SECONDS = 0.2


def slowly(*given: Any) -> Any:
    time.sleep(SECONDS)
    return plan(*given)


if __name__ == "__main__":
    setattr(loop, "plan", slowly)  # noqa: B010
    main.main()
