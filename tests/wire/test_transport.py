"""Why there is no answer: each way in which a connection fails is a readable sentence."""

from __future__ import annotations

import asyncio
import re

import pytest
from kubernetes.aio.client import Configuration

from immutable_operator.kube.client import KubeClient
from immutable_operator.kube.errors import Unreachable

NOTHING = b""
SSH = b"SSH-2.0-OpenSSH_9.9\r\n"
DENIED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
# URL, proxy, what a port of this machine says to each connection, the sentence.
CASES = {
    "nothing listens": ("http://127.0.0.1:9", "", NOTHING, "no connection to 127.0.0.1:9: .*ref"),
    "no such host": ("https://api.invalid:6443", "", NOTHING, "the host api.invalid is not found"),
    "closed": ("http://HERE", "", NOTHING, "the connection was closed without a response"),
    "not HTTP": ("http://HERE", "", SSH, "the response is not HTTP: Bad status line"),
    "not TLS": ("https://HERE", "", SSH, "no TLS connection to HERE: .*wrong version number"),
    "cut": ("http://HERE", "", SHORT, "the response was incomplete: the conn.* closed"),
    "no proxy": ("http://api", "http://127.0.0.1:9", NOTHING, "no connection to proxy 127.0.0.1:9"),
    "denying proxy": ("https://api", "http://HERE", DENIED, "the proxy answered: 403 Forbidden"),
    "no URL": ("nonsense", "", NOTHING, "nonsense/api/v1/pods is not a valid URL"),
}


async def asked(url: str, proxy: str, said: bytes) -> str:
    """Return what is said of a request that has no answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    here = "{}:{}".format(*server.sockets[0].getsockname())
    configuration = Configuration(host=url.replace("HERE", here))
    configuration.proxy = proxy.replace("HERE", here) or None
    client = KubeClient(configuration)
    try:
        with pytest.raises(Unreachable) as caught:
            await client.list("/api/v1/pods", resource="pods")
    finally:
        await client.close()
        server.close()
    return str(caught.value).replace(here, "HERE")


@pytest.mark.parametrize("case", CASES)
def test_failed_connection_is_a_readable_sentence(case: str) -> None:
    url, proxy, said, words = CASES[case]
    told = asyncio.run(asked(url, proxy, said))
    assert re.search(words, told), told
    assert "Error(" not in told
    assert "Key(" not in told
    assert "\n" not in told
