"""Pushes the chart, signs image and chart, attests what the image is made of."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release.tree import ReleaseError

__all__ = ["Signer", "push_chart"]

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Signer:
    """cosign: without a key by the identity of the workflow that runs it; ``key`` is a file or a
    URL of a key management service. ``offline`` with a key: nothing goes to a transparency log.
    """

    program: str
    key: str = ""
    offline: bool = False

    def sign(self, reference: str) -> None:
        """Sign what a reference with a digest names. Raises `ReleaseError`."""
        _pinned(reference)
        _run([self.program, "sign", *self._flags(), reference])

    def attest(self, reference: str, predicate: Path, kind: str = "cyclonedx") -> None:
        """Attach a signed statement about it, such as its SBOM. Raises `ReleaseError`."""
        _pinned(reference)
        about = ("--type", kind, "--predicate", str(predicate))
        _run([self.program, "attest", *self._flags(), *about, reference])

    def sign_file(self, path: Path) -> Path:
        """Sign a file; return the bundle beside it, with which it is verified."""
        bundle = path.with_name(f"{path.name}.sigstore.json")
        _run([self.program, "sign-blob", *self._flags(), "--bundle", str(bundle), str(path)])
        return bundle

    def _flags(self) -> list[str]:
        flags = ["--yes"]
        if self.key:
            flags += ["--key", self.key]
        if self.offline:
            flags += ["--use-signing-config=false", "--tlog-upload=false"]
        return flags


def push_chart(helm: str, chart: Path, registry: str, *, plain_http: bool = False) -> str:
    """Push the chart as an OCI artefact below ``registry`` and return its digest.

    Raises `ReleaseError`.
    """
    http = ("--plain-http",) if plain_http else ()
    told = _run([helm, "push", str(chart), f"oci://{registry}", *http])
    found = DIGEST.findall(told)
    if not found:
        raise ReleaseError(f"helm push printed no digest: {told.strip()}")
    return str(found[-1])


def _pinned(reference: str) -> None:
    if not DIGEST.fullmatch(reference.partition("@")[2]):
        raise ReleaseError(
            f"{reference} has no digest, and a tag can be moved to something else before it is"
            " signed; name it as <image>@sha256:<digest>"
        )


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode:
        what = " ".join(command[:2])
        raise ReleaseError(f"{what} failed ({done.returncode}):\n{done.stdout.strip()}")
    return done.stdout
