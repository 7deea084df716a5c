"""Probes the break-glass webhook, at the address and with the CAs that an API server would use.

A TLS handshake is enough: it needs the address, a listener, and a certificate from one of the
published authorities. It uses only the network, so it needs no permission.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from immutable_operator.admission.fault import Door, Trouble

__all__ = ["Knocker", "knock"]

KNOCK_SECONDS = 10.0
FIRST_SECONDS = 1.0
# An API server waits two seconds for an answer.
PATIENCE_SECONDS = 2.0

UNREACHABLE, CERTIFICATE = "WebhookUnreachable", "WebhookCertificate"


class Knocker:
    """The result of the last probes; ``changed`` is called when it changes.

    One failure is no fault: a pod may be ending, a certificate may be on its way. Only if the next
    one fails, too, ten seconds later, there is ``trouble``. Until there was a success or a fault,
    the result is not ``known``. ``tried`` is set once the first probe has ended, successful or not.
    """

    def __init__(
        self,
        door: Callable[[], Door | None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._door = door
        self._changed = changed
        self._clock = clock
        self._missed: Door | None = None
        self._missed_at = 0.0
        self.trouble: Trouble | None = None
        self.known = False
        self.tried = asyncio.Event()

    async def run(self) -> None:
        """Probe forever."""
        while True:
            await self.step()
            await asyncio.sleep(KNOCK_SECONDS if self.known else FIRST_SECONDS)

    async def step(self) -> None:
        """Probe once, at the present address."""
        began, door = self._clock(), self._door()
        found = await knock(door) if door else None
        before = self.known, self.trouble
        # A failure at another address does not count as the second one.
        if found is None or found.door != self._missed:
            self._missed, self._missed_at = (found.door if found else None), began
        lasts = began - self._missed_at >= KNOCK_SECONDS
        self._conclude(found if found and lasts else None, is_known=found is None or lasts)
        self.tried.set()
        if before != (self.known, self.trouble):
            self._changed()

    def _conclude(self, trouble: Trouble | None, *, is_known: bool) -> None:
        self.known = self.known or is_known
        same = trouble and self.trouble and trouble.reason == self.trouble.reason
        # Other words for the same reason are no change.
        self.trouble = self.trouble if same else trouble


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
