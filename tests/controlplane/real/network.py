"""The network of a bed: this machine, a router and the nodes, joined in the router's namespace.

This machine gets one interface, one route and one firewall table; it forwards nothing, and no
traffic leaves the machine. The nodes have routes only to the bed. The API server listens only on
the loopback interface: packets to the ClusterIP of `kubernetes` are rewritten on the node to the
address of this machine, and on this machine to the loopback address.
"""

from __future__ import annotations

import json
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from tests.controlplane.real.blocks import API_ADDRESS, BLOCKS, Block
from tests.controlplane.real.namespaces import NamespaceError, Namespaces

__all__ = ["NoBlockFreeError", "connect_node", "link_node", "open_api", "take_block", "unplug_node"]

# A bridge without an address of its own takes that of a port, and another when ports change;
# a node that boots with another address is not found: for half a minute the others send to
# the one that they remember.
ROUTER_MAC = "02:00:00:00:00:fe"
HOST_TABLE = """
table ip {name} {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    iifname "{name}" ip daddr {host} tcp dport {port} dnat to 127.0.0.1:{port}
  }}
  chain input {{
    type filter hook input priority filter
    iifname "{name}" ip daddr 127.0.0.0/8 ct status & dnat != dnat drop
  }}
}}
"""
NODE_TABLE = """
table ip immutable {{
  chain prerouting {{
    type nat hook prerouting priority dstnat
    ip daddr {api} tcp dport 443 dnat to {host}:{port}
  }}
  chain output {{
    type nat hook output priority -100
    ip daddr {api} tcp dport 443 dnat to {host}:{port}
  }}
}}
"""


class NoBlockFreeError(RuntimeError):
    """Every block of addresses is in use."""


def take_block(router: Namespaces) -> Block:
    """Connect this machine and the router; the name of the interface reserves the block."""
    taken = _routed()
    for number in range(BLOCKS):
        block = Block(number)
        if any(block.network.overlaps(network) for network in taken):
            continue
        add = ["ip", "link", "add", block.interface, "type", "veth"]
        add += ["peer", "name", "host", "netns", str(router.pid)]
        result = subprocess.run(add, capture_output=True, text=True)
        if result.returncode == 0:
            _join(block, router)
            return block
        if "File exists" not in result.stderr:
            raise NamespaceError(f"{' '.join(add)}: {result.stderr}")
    raise NoBlockFreeError(
        f"no free part of 198.18.0.0/15 on this machine: {BLOCKS} beds are running, or something"
        " else uses these addresses; check: ip route"
    )


def open_api(block: Block, port: int) -> None:
    """Allow nodes to reach the loopback port of the API server, and no other loopback port."""
    # Only for packets that come in here; ends with the interface.
    Path(f"/proc/sys/net/ipv4/conf/{block.interface}/route_localnet").write_text("1")
    rules = HOST_TABLE.format(name=block.interface, host=block.host, port=port)
    _run("nft", "-f", "-", stdin=rules)


def connect_node(block: Block, router: Namespaces, node: Namespaces, index: int, port: int) -> None:
    """Connect a node to the router, with its addresses, its routes and the route to the API
    server."""
    link = _link(index)
    unplug_node(router, index)
    router.run(
        *("ip", "-batch", "-"),
        stdin=f"""
        link add {link} type veth peer name eth0 address {block.mac(index)} netns {node.pid}
        link set {link} master nodes up
        route replace {block.pods(index)} via {block.node(index)}
        """,
    )
    node.run(
        *("ip", "-batch", "-"),
        stdin=f"""
        link set lo up
        link add pods address {block.mac(index)} type bridge
        addr add {block.node(index)}/24 dev eth0
        link set eth0 up
        route add {block.network} via {block.router}
        route add {API_ADDRESS}/32 via {block.router}
        """,
    )
    node.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    rules = NODE_TABLE.format(api=API_ADDRESS, host=block.host, port=port)
    node.run("nft", "-f", "-", stdin=rules)


def link_node(router: Namespaces, index: int, state: str) -> None:
    """Plug the node's cable in (``up``) or pull it (``down``)."""
    router.run("ip", "link", "set", _link(index), state)


def unplug_node(router: Namespaces, index: int) -> None:
    """Remove the network interface of the node; otherwise the kernel removes it some time later."""
    command = router.command("ip", "link", "delete", _link(index))
    subprocess.run(command, capture_output=True)


def _link(index: int) -> str:
    return f"node-{index}"


def _join(block: Block, router: Namespaces) -> None:
    router.run(
        *("ip", "-batch", "-"),
        stdin=f"""
        link set lo up
        link add nodes address {ROUTER_MAC} type bridge
        addr add {block.router}/24 dev nodes
        link set nodes up
        link set host master nodes up
        """,
    )
    # All are on one wire: a router would tell them to go round it.
    settings = ("ip_forward 1", "conf/all/send_redirects 0", "conf/nodes/send_redirects 0")
    script = "\n".join(
        f"echo {value} >/proc/sys/net/ipv4/{name}" for name, value in map(str.split, settings)
    )
    router.run("sh", "-ec", script)
    _run("ip", "addr", "add", f"{block.host}/24", "dev", block.interface)
    _run("ip", "link", "set", block.interface, "up")
    _run("ip", "route", "add", str(block.network), "via", block.router)


def _routed() -> list[IPv4Network]:
    """What this machine has routes to, the default route aside."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all"))
    found = (route["dst"] for route in routes if route["dst"] != "default")
    return [IPv4Network(text, strict=False) for text in found]


def _run(*command: str, stdin: str = "") -> str:
    result = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if result.returncode:
        raise NamespaceError(f"{' '.join(command)}: {result.stderr}{stdin}")
    return result.stdout
