"""Which addresses a check may connect to.

A check names a server, and the operator connects to it from its own place in the network. So the
name is resolved first, each of its addresses is judged, and the connection is made to one of those:
a name that resolves to another address a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["AddressRefused", "Judge", "connector", "resolve"]

Address = IPv4Address | IPv6Address

# Their last 32 bits are an IPv4 address: NAT64 (RFC 6052), SIIT (RFC 2765).
TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("::ffff:0:0:0/96"))
# Translated by the operators of a network, in their own way (RFC 8215).
TRANSLATED_LOCALLY = ip_network("64:ff9b:1::/48")
ISATAP = (0x5EFE, 0x02005EFE)  # before the IPv4 address (RFC 5214)
# None of the properties of an address says that clouds answer with credentials there.
METADATA = frozenset(
    map(
        ip_address,
        (
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::23",
            "fd00:ec2::254",
            "fd00:42::42",
            "fd20:ce::254",
        ),
    )
)
THIS_NETWORK = ip_network("0.0.0.0/8")


class AddressRefused(OSError):
    """A server to which no check may connect; the message says which and why."""


class Judge:
    """Judges addresses; ``own`` are those of the API server of this operator."""

    def __init__(self, own: Collection[Address] = ()) -> None:
        self._own = frozenset(own)

    def why_not(self, text: str) -> str | None:
        """Return why no check may connect to an address; None if it may."""
        for address in _meant(ip_address(text.partition("%")[0])):
            if address in self._own:
                return "it is the address of the API server"
            if why := _why_not(address):
                return f"it is {why} address"
        return None

    def check(self, host: str, text: str) -> None:
        """Raise `AddressRefused` for an address to which no check may connect."""
        if (why := self.why_not(text)) is not None:
            shown = host if host == text else f"{host} ({text})"
            raise AddressRefused(f"a check cannot connect to {shown}: {why}; use another server")


def _meant(address: Address) -> Iterator[Address]:
    """Yield an address, and the IPv4 addresses that it leads to."""
    yield address
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    low = int(address) < 2**32 or int(address) >> 32 & 0xFFFFFFFF in ISATAP
    if low or any(address in network for network in TRANSLATED):
        yield IPv4Address(int(address) % 2**32)


def _why_not(address: Address) -> str | None:
    """Return what kind of address this is, if no check may connect to it."""
    if address in METADATA:
        return "a cloud metadata"
    if address.version == 6 and address in TRANSLATED_LOCALLY:
        return "a locally translated (64:ff9b:1::/48)"
    if address.is_loopback:
        return "a loopback"
    if address.is_link_local:
        return "a link-local"
    if address.is_multicast:
        return "a multicast"
    if address.is_unspecified or (address.version == 4 and address in THIS_NETWORK):
        return "an unspecified"
    if address.version == 4 and address.is_reserved:
        return "a reserved"
    return None


Known = list[tuple[int, str]]


async def resolve(host: str, port: int, judge: Judge) -> Known:
    """Return family and address of a host. Raises `AddressRefused` if any of them is refused."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((int(family), str(where[0])) for family, *_, where in found))
    for _, address in addresses:
        judge.check(host, address)
    return addresses


class Resolved(AbstractResolver):
    """Gives a connection the addresses that were judged, and no others."""

    def __init__(self, addresses: Known) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=known,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for known, address in self._addresses
        ]

    async def close(self) -> None:
        return None


def connector(addresses: Known, judge: Judge) -> aiohttp.TCPConnector:
    """Return a connector to these addresses; each is judged once more when it is connected to."""

    def connected(info: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
        family, kind, protocol, _, where = info
        judge.check(where[0], where[0])
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        resolver=Resolved(addresses),
        use_dns_cache=False,
        force_close=True,
        socket_factory=connected,
    )
