"""The operator as it is with thousands of pods: a new leader asks instead of listing them.

It waits longer for a bookmark than usual, because the machine of a test may be slow.
"""

from __future__ import annotations

from immutable_operator.runtime import main, watches

if __name__ == "__main__":
    watches.FEW = -1
    watches.BOOKMARK_SECONDS = 20.0
    main.main()
