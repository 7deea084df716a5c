"""What the operator watches and writes for node pools, where they are enabled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from immutable_operator.instances.nodes.driver import NodeDriver, Provider
from immutable_operator.instances.nodes.observe import Observer
from immutable_operator.instances.nodes.simulated import SimulatedProvider
from immutable_operator.instances.nodes.watched import Daemons, Guests, Nodes, Volumes
from immutable_operator.instances.pods.codec import PODS
from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.paths import ApiPath
from immutable_operator.kube.reflector import Sink
from immutable_operator.kube.store import Owners
from immutable_operator.wire.daemon import DAEMONS, VOLUMES, decode_daemon, decode_volume
from immutable_operator.wire.guest import decode_guest
from immutable_operator.wire.owner import OwnerRecord

__all__ = ["NodeOptions", "NodeWatches"]

EXEMPT = "kube-system"


@dataclass(frozen=True)
class NodeOptions:
    """How node pools are served. ``home`` is the operator's namespace, with the records of pools.

    ``exempt`` are namespaces whose pods may have access to nodes, beside ``home`` and kube-system.
    """

    home: str
    simulated: bool = False
    exempt: frozenset[str] = frozenset()


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
        exempt = options.exempt | {options.home, EXEMPT}
        observer = Observer(nodes, guests, daemons, volumes, exempt, options.home)
        providers: list[Provider] = []
        if options.simulated:
            providers.append(SimulatedProvider(client, observer))
        self.driver = NodeDriver(client, nodes, guests, providers, options.home, owners.get)
        self.sources: tuple[tuple[ApiPath, Any, Sink[Any]], ...] = (
            (PODS, decode_guest, guests),
            (DAEMONS, decode_daemon, daemons),
            (VOLUMES, decode_volume, volumes),
        )
