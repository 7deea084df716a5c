"""Image references that are pinned, and the message for each that is not.

They are tried on the operator's own check (test_api_image.py) and on the CEL rules of the API
server (tests/cluster/test_crds.py).
"""

from immutable_operator.api.image import HOW_TO_PIN, NO_DIGEST

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

PROBLEMS = {
    "": f"it has no image; {HOW_TO_PIN}",
    "registry.example/web:1.25": f"image registry.example/web:1.25 {NO_DIGEST}; {HOW_TO_PIN}",
    "nginx": f"image nginx {NO_DIGEST}; {HOW_TO_PIN}",
    f"registry.example/web@sha256:{HEX[:-1]}": f"image registry.example/web@sha256:{HEX[:-1]} has "
    "a sha256 digest of 63 instead of 64 hex digits; copy the complete digest",
    f"registry.example/web@sha256:{HEX}0": f"image registry.example/web@sha256:{HEX}0 has a sha256 "
    "digest of 65 instead of 64 hex digits; copy the complete digest",
    f"registry.example/web@sha512:{HEX}": f"image registry.example/web@sha512:{HEX} has a sha512 "
    "digest of 64 instead of 128 hex digits; copy the complete digest",
    "registry.example/web@sha256:": "image registry.example/web@sha256: has a sha256 digest of 0 "
    "instead of 64 hex digits; copy the complete digest",
    f"registry.example/web@sha256:{HEX.upper()}": "image registry.example/web@sha256:"
    f"{HEX.upper()} has a digest in upper case; write the same digest in lower case",
    f"web@sha256:{HEX}": f"image web@sha256:{HEX} has no registry, so each node would choose "
    "one; add the registry in front of the name",
    f"team/web@sha256:{HEX}": f"image team/web@sha256:{HEX} has no registry, so each node "
    "would choose one; add the registry in front of the name",
    f"registry.example/Web@sha256:{HEX}": f"image registry.example/Web@sha256:{HEX} is not a "
    f"valid image reference; {HOW_TO_PIN}",
    f"registry.example/web@md5:{HEX}": f"image registry.example/web@md5:{HEX} is not a valid "
    f"image reference; {HOW_TO_PIN}",
    f"registry.example//web@sha256:{HEX}": f"image registry.example//web@sha256:{HEX} is not a "
    f"valid image reference; {HOW_TO_PIN}",
    f"registry.example/web@sha256:{HEX}@sha256:{HEX}": f"image registry.example/web@sha256:{HEX}"
    f"@sha256:{HEX} is not a valid image reference; {HOW_TO_PIN}",
    f"registry.example/web@{HEX}": f"image registry.example/web@{HEX} is not a valid image "
    f"reference; {HOW_TO_PIN}",
    f" registry.example/web@sha256:{HEX}": f"image  registry.example/web@sha256:{HEX} is not a "
    f"valid image reference; {HOW_TO_PIN}",
    f"registry.example/web@sha256:{HEX}\n": f"image registry.example/web@sha256:{HEX}\n is not a "
    f"valid image reference; {HOW_TO_PIN}",
}
