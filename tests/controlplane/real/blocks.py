"""Addresses: each bed uses a separate block of the range that is reserved for benchmarks.

A block is a /20 of 198.18.0.0/15 (RFC 2544: never routed). Its first /24 contains this machine
(.1), the router of the bed (.254) and the nodes (.10 …); each other /24 is for the pods of one
node.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

__all__ = ["API_ADDRESS", "BLOCKS", "NODES_IN_BLOCK", "Block"]

RANGE = ipaddress.IPv4Network("198.18.0.0/15")
BLOCKS = 32
NODES_IN_BLOCK = 15
FIRST_NODE = 10
# ClusterIP of the service `kubernetes`, which every pod finds in its environment.
API_ADDRESS = "10.96.0.1"


@dataclass(frozen=True)
class Block:
    """One bed's addresses; ``number`` is from 0 to 31."""

    number: int

    @property
    def interface(self) -> str:
        """Name of the interface on this machine, and of its firewall table."""
        return f"immutable-{self.number}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        return list(RANGE.subnets(new_prefix=20))[self.number]

    @property
    def host(self) -> str:
        """Address of this machine for nodes and pods."""
        return str(self._parts[0][1])

    @property
    def router(self) -> str:
        return str(self._parts[0][254])

    def node(self, index: int) -> str:
        return str(self._parts[0][FIRST_NODE + index])

    def mac(self, index: int) -> str:
        """The hardware address of a node, which stays the same after a reboot."""
        return f"02:00:00:00:00:{FIRST_NODE + index:02x}"

    def pods(self, index: int) -> ipaddress.IPv4Network:
        return self._parts[1 + index]

    @property
    def _parts(self) -> list[ipaddress.IPv4Network]:
        return list(self.network.subnets(new_prefix=24))
