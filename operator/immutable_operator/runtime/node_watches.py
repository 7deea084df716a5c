"""What the operator watches and writes for node pools, where they are enabled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from immutable_operator.admission.fault import NodeScope
from immutable_operator.domain.model import Backoff
from immutable_operator.instances.nodes.claimed import NodeClaims
from immutable_operator.instances.nodes.driver import NodeDriver, Provider
from immutable_operator.instances.nodes.karpenter import KarpenterProvider
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.instances.nodes.simulated import SimulatedProvider
from immutable_operator.instances.nodes.watched import Daemons, Guests, Nodes, Volumes
from immutable_operator.instances.pods.codec import PODS
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.reflector import Source
from immutable_operator.kube.store import Owners
from immutable_operator.runtime.inquiry import Inquiry
from immutable_operator.wire.claim import CLAIMS, decode_claim
from immutable_operator.wire.daemon import DAEMONS, VOLUMES, decode_daemon, decode_volume
from immutable_operator.wire.guest import decode_guest
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["NodeOptions", "NodeWatches"]

EXEMPT = "kube-system"
RETRY = Backoff(1.0, 60.0)
# An event can appear after the end of the claim that it is about.
LOOK_SECONDS = 2.0
MOST_LOOKS = 4


@dataclass(frozen=True)
class NodeOptions:
    """How node pools are served. ``home`` is the operator's namespace, with the records of pools.

    ``exempt`` are namespaces whose pods may have access to nodes, beside ``home`` and kube-system.
    """

    home: str
    simulated: bool = False
    karpenter: bool = False
    exempt: frozenset[str] = frozenset()

    @property
    def scope(self) -> NodeScope:
        """Where access to nodes is refused and reported."""
        return NodeScope(self.home, self.exempt | {self.home, EXEMPT})


class NodeWatches:
    """The stores beside that of the nodes, and the driver; ``changed`` is called on any change."""

    def __init__(
        self,
        client: KubeClient,
        nodes: Nodes,
        options: NodeOptions,
        owners: Owners[OwnerRecord],
        changed: Callable[..., None],
    ) -> None:
        def guest_changed(node: str) -> None:
            known = nodes.all.get(node)
            if known is not None and known.owner:
                changed(node)

        guests = Guests(guest_changed)
        daemons, volumes = Daemons(changed), Volumes(changed)
        exempt = options.scope.exempt
        observer = Observer(nodes, guests, daemons, volumes, exempt, options.home)
        providers: list[Provider] = []
        sources: list[Source] = [
            (PODS, decode_guest, guests, {}),
            (DAEMONS, decode_daemon, daemons, {}),
            (VOLUMES, decode_volume, volumes, {}),
        ]
        if options.simulated:
            providers.append(SimulatedProvider(client, observer))
        if options.karpenter:
            claims = NodeClaims(changed, lambda claim: self._vanished.want(claim.uid))
            self._karpenter = KarpenterProvider(client, observer, claims)
            providers.append(self._karpenter)
            sources.append((CLAIMS, decode_claim, claims, {"served": claims.serve}))
        self._asked: dict[str, int] = {}
        self._vanished: Inquiry[str] = Inquiry(
            "cause of a failed NodeClaim cannot be read", self._explain, retry=RETRY
        )
        self.driver = NodeDriver(client, nodes, guests, providers, options.home, owners.get)
        self.sources: tuple[Source, ...] = tuple(sources)

    async def run(self) -> None:
        """Find out why machines could not be started. Only the leader runs it."""
        await self._vanished.run()

    async def _explain(self, uid: str) -> float | None:
        """Return in how many seconds to look again, or None."""
        tries = self._asked.pop(uid, 0) + 1
        if await self._karpenter.explain(uid) or tries >= MOST_LOOKS:
            return None
        self._asked[uid] = tries
        return LOOK_SECONDS
