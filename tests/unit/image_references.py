"""Image references that are pinned, and the message for each that is not.

They are tried on the operator's own check (test_api_image.py) and on the CEL rules of the API
server (tests/cluster/test_crds.py).
"""

from immutable_operator.api.image import (
    HOW_TO_PIN,
    LENGTH,
    MALFORMED,
    NO_DIGEST,
    NO_REGISTRY,
    UPPER_CASE,
)

__all__ = ["HEX", "PINNED", "PROBLEMS"]

HEX = "9f2c41d07a1b" * 5 + "9f2c"
SHA512 = "ab" * 64

PINNED = [
    f"registry.example/web@sha256:{HEX}",
    f"registry.example/team/web@sha256:{HEX}",
    f"registry.example:5000/web@sha256:{HEX}",
    f"registry:5000/web@sha256:{HEX}",
    f"localhost/web@sha256:{HEX}",
    f"localhost:5000/web@sha256:{HEX}",
    f"127.0.0.1:5000/web@sha256:{HEX}",
    f"[::1]:5000/web@sha256:{HEX}",
    f"[fe80::1]/web@sha256:{HEX}",
    f"registry.example/web:1.25@sha256:{HEX}",
    f"registry.example/a_b/c__d/e-f/g--h/i.j@sha256:{HEX}",
    f"registry.example/web@sha512:{SHA512}",
    f"Registry.Example/web@sha256:{HEX}",
]

WEB = "registry.example/web"
PROBLEMS = {
    "": f"it has no image; {HOW_TO_PIN}",
    f"{WEB}:1.25": f"image {WEB}:1.25 {NO_DIGEST}; {HOW_TO_PIN}",
    "nginx": f"image nginx {NO_DIGEST}; {HOW_TO_PIN}",
    f"{WEB}@sha256:{HEX[:-1]}": f"image {WEB}@sha256:{HEX[:-1]} has a sha256 digest of 63 instead "
    f"of 64{LENGTH}",
    f"{WEB}@sha256:{HEX}0": f"image {WEB}@sha256:{HEX}0 has a sha256 digest of 65 instead of 64"
    f"{LENGTH}",
    f"{WEB}@sha512:{HEX}": f"image {WEB}@sha512:{HEX} has a sha512 digest of 64 instead of 128"
    f"{LENGTH}",
    f"{WEB}@sha256:": f"image {WEB}@sha256: has a sha256 digest of 0 instead of 64{LENGTH}",
    f"{WEB}@sha256:{HEX.upper()}": f"image {WEB}@sha256:{HEX.upper()}{UPPER_CASE}",
    f"web@sha256:{HEX}": f"image web@sha256:{HEX}{NO_REGISTRY}",
    f"team/web@sha256:{HEX}": f"image team/web@sha256:{HEX}{NO_REGISTRY}",
} | {
    image: f"image {image}{MALFORMED}"
    for image in (
        f"registry.example/Web@sha256:{HEX}",
        f"{WEB}@md5:{HEX}",
        f"registry.example//web@sha256:{HEX}",
        f"{WEB}@sha256:{HEX}@sha256:{HEX}",
        f"{WEB}@{HEX}",
        f" {WEB}@sha256:{HEX}",
        f"{WEB}@sha256:{HEX}\n",
    )
}
