"""A receiver of notifications: checks the signature and prints each event once.

    RECEIVER_KEY=whsec_… python receiver.py

It needs only Python. Put it behind a server that terminates TLS.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SEEN: set[str] = set()  # a real receiver keeps them, for a day or so


def verified(headers: Mapping[str, str], body: bytes, key: str, now: float) -> bool:
    """Return whether the operator sent this body in the last five minutes."""
    sent, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(now - int(at)) > 300:
        return False
    signed = f"{sent}.{at}.".encode() + body
    digest = hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_ours = verified(headers, body, os.environ["RECEIVER_KEY"], time.time())
        self.send_response(204 if is_ours else 401)
        self.end_headers()
        if is_ours and (event := json.loads(body))["id"] not in SEEN:
            SEEN.add(event["id"])
            print(event["type"], event["subject"], event["data"]["message"], flush=True)


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 8000), Receiver).serve_forever()  # noqa: S104
