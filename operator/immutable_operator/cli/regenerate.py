"""``kubectl immutable regenerate``: creates an ImmutableAction and reports its progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from immutable_operator.api.names import ACTION_KIND, API_VERSION
from immutable_operator.cli.login import Login
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import ApiError, Conflict, Forbidden, NotFound
from immutable_operator.wire.action import ACTIONS
from immutable_operator.wire.owner import SERVICES

__all__ = ["Regenerate", "regenerate"]

POLL_SECONDS = 0.5
Say = Callable[[str], None]


@dataclass(frozen=True)
class Regenerate:
    """Command-line options. ``timeout`` in seconds; 0 means not to wait."""

    login: Login
    namespace: str
    service: str
    instance: str | None = None
    reason: str | None = None
    override_freeze: bool = False
    timeout: float = 0.0


async def regenerate(given: Regenerate, say: Say, show: Say) -> int:
    """Create the action; with a timeout wait for its end. Returns the exit code: 0 done, 1 failed
    or timed out, 2 refused."""
    client = KubeClient(await given.login.configuration())
    try:
        return await _ask(client, given, say, show)
    except NotFound:
        say(
            f"error: there is no ImmutableService {given.service} in namespace {given.namespace};"
            " list all with: kubectl get imsvc -A"
        )
    except Forbidden as error:
        # The message of a policy includes advice; the role edit would not help.
        policy = error.message.partition("denied request: ")[2]
        denied = f"permission denied: {error.message}; ask for the role edit in this namespace"
        say(f"error: {policy or denied}")
    except (ApiError, OSError) as error:
        say(f"error: {error}")
    finally:
        await client.close()
    return 2


async def _ask(client: KubeClient, given: Regenerate, say: Say, show: Say) -> int:
    path = SERVICES.item(given.namespace, given.service)
    await client.get(path, resource=SERVICES.resource)
    name = await _create(client, given)
    show(f"immutableaction.immutable.dev/{name} created")
    if not given.timeout:
        return 0
    deadline, told = time.monotonic() + given.timeout, ""
    while time.monotonic() < deadline:
        item = ACTIONS.item(given.namespace, name)
        body = msgspec.json.decode(await client.get(item, resource=ACTIONS.resource))
        status = body.get("status") or {}
        text = f"{status.get('phase', 'Pending')}: {status.get('message', 'not processed yet')}"
        if text != told:
            told = text
            say(text)
        if status.get("phase") in ("Succeeded", "Failed"):
            return 0 if status["phase"] == "Succeeded" else 1
        await asyncio.sleep(POLL_SECONDS)
    say(f"error: not done within {given.timeout:g} s; see its progress: kubectl get imact {name}")
    return 1


async def _create(client: KubeClient, given: Regenerate) -> str:
    spec: dict[str, object] = {"type": "Regenerate", "service": given.service}
    if given.instance:
        spec["instance"] = given.instance
    if given.reason:
        spec["reason"] = given.reason
    if given.override_freeze:
        spec["overrideFreeze"] = True
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for attempt in range(5):
        name = f"{given.service}-regenerate-{stamp}" + (f"-{attempt}" if attempt else "")
        body = {
            "apiVersion": API_VERSION,
            "kind": ACTION_KIND,
            "metadata": {"name": name, "namespace": given.namespace},
            "spec": spec,
        }
        try:
            collection = ACTIONS.collection(given.namespace)
            await client.create(
                collection, body, resource=ACTIONS.resource, manager="kubectl-immutable"
            )
        except Conflict:
            continue
        return name
    again = f"{given.service} already has requests of this second; run the command again"
    raise ApiError(409, "AlreadyExists", again)
