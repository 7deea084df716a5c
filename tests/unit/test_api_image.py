"""What counts as a pinned image, and the sentence for each that does not.

PROBLEMS is the table that tests/cluster/test_crds.py also puts to the API server's CEL.
"""

import pytest

from immutable_operator.api.image import (
    HOW_TO_PIN,
    MAX_IMAGE,
    NO_DIGEST,
    digest_of,
    is_pinned,
    pin_problem,
)

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


@pytest.mark.parametrize("image", PINNED)
def test_registry_name_and_whole_digest_are_a_pin(image: str) -> None:
    assert pin_problem(image) is None
    assert is_pinned(image)


@pytest.mark.parametrize("image", PROBLEMS)
def test_everything_else_is_refused_with_the_one_thing_to_do(image: str) -> None:
    assert pin_problem(image) == PROBLEMS[image]
    assert not is_pinned(image)


def test_no_image_at_all_is_refused() -> None:
    assert pin_problem(None) == PROBLEMS[""]


def test_a_reference_longer_than_the_schema_allows_is_refused() -> None:
    image = f"registry.example/{'a' * MAX_IMAGE}@sha256:{HEX}"
    assert not is_pinned(image)
    assert pin_problem(image) == f"its image is longer than 512 characters; {HOW_TO_PIN}"


def test_the_digest_is_what_follows_the_at_sign() -> None:
    assert digest_of(f"registry.example:5000/web:1@sha256:{HEX}") == f"sha256:{HEX}"
    assert digest_of("registry.example/web:1") == ""
