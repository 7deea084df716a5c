"""Knocks at the break-glass webhook, as an API server would find it and whom it would trust there.

A handshake is enough: it needs the address, somebody who listens, and a certificate of one of the
published authorities. Only the network is asked, so it needs no right.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from immutable_operator.admission.selfcheck import Door, Trouble

__all__ = ["Knocker", "knock"]

KNOCK_SECONDS = 10.0
# An API server waits two seconds for an answer.
PATIENCE_SECONDS = 2.0

UNREACHABLE, CERTIFICATE = "WebhookUnreachable", "WebhookCertificate"


class Knocker:
    """What came of the last knocks; ``changed`` is called when ``trouble`` changes.

    Once is no fault: a pod ends, a certificate is on its way. Twice in a row is.
    """

    def __init__(self, door: Callable[[], Door | None], changed: Callable[[], None]) -> None:
        self._door = door
        self._changed = changed
        self._missed: Door | None = None
        self.trouble: Trouble | None = None

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(KNOCK_SECONDS)

    async def step(self) -> None:
        """One knock, at the door that is there now."""
        door = self._door()
        found = await knock(door) if door else None
        before, missed = self.trouble, self._missed
        self._missed = found.door if found else None
        # What was found at another door is no second time.
        self.trouble = found if found and found.door == missed else None
        if before and self.trouble and before.reason == self.trouble.reason:
            self.trouble = before  # said in other words it is no news
        if before != self.trouble:
            self._changed()


async def knock(door: Door, patience: float = PATIENCE_SECONDS) -> Trouble | None:
    """What an API server would find; None where it would be answered."""
    try:
        context = ssl.create_default_context(cadata=door.authorities)
    except (ssl.SSLError, ValueError) as error:
        return Trouble(door, CERTIFICATE, f"its caBundle cannot be read: {error}")
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(
                door.host, door.port, ssl=context, server_hostname=door.host
            )
    except ssl.SSLCertVerificationError as error:
        return Trouble(door, CERTIFICATE, error.verify_message)
    except TimeoutError:
        return Trouble(door, UNREACHABLE, f"no answer within {patience:g} s")
    except (OSError, ValueError) as error:
        return Trouble(door, UNREACHABLE, str(error) or type(error).__name__)
    writer.transport.abort()
    return None
