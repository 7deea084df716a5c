"""Probes the break-glass webhook, at the address and with the CAs that an API server would use.

A TLS handshake is enough: it needs the address, a listener, and a certificate from one of the
published authorities. It uses only the network, so it needs no permission.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from immutable_operator.admission.fault import Door, Trouble

__all__ = ["Knocker", "knock"]

KNOCK_SECONDS = 10.0
# An API server waits two seconds for an answer.
PATIENCE_SECONDS = 2.0

UNREACHABLE, CERTIFICATE = "WebhookUnreachable", "WebhookCertificate"


class Knocker:
    """The result of the last probes; ``changed`` is called when ``trouble`` changes.

    One failure is no fault: a pod may be ending, a certificate may be on its way. Two in a row are.
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
        """Probe once, at the present address."""
        door = self._door()
        found = await knock(door) if door else None
        before, missed = self.trouble, self._missed
        self._missed = found.door if found else None
        # A failure at another address does not count as the second one.
        self.trouble = found if found and found.door == missed else None
        if before and self.trouble and before.reason == self.trouble.reason:
            self.trouble = before  # other words for the same reason are no change
        if before != self.trouble:
            self._changed()


async def knock(door: Door, patience: float = PATIENCE_SECONDS) -> Trouble | None:
    """Return what an API server would find; None if the webhook would answer."""
    try:
        context = ssl.create_default_context(cadata=door.authorities)
    except (ssl.SSLError, ValueError) as error:
        return Trouble(door, CERTIFICATE, f"the caBundle cannot be read: {error}")
    try:
        async with asyncio.timeout(patience):
            _, writer = await asyncio.open_connection(
                door.host, door.port, ssl=context, server_hostname=door.host
            )
    except ssl.SSLCertVerificationError as error:
        return Trouble(door, CERTIFICATE, error.verify_message)
    except TimeoutError:
        return Trouble(door, UNREACHABLE, f"no response within {patience:g} s")
    except (OSError, ValueError) as error:
        return Trouble(door, UNREACHABLE, str(error) or type(error).__name__)
    writer.transport.abort()
    return None
