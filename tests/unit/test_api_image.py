"""What counts as a pinned image, and the message for each reference that does not."""

import pytest

from immutable_operator.api.image import HOW_TO_PIN, MAX_IMAGE, digest_of, is_pinned, pin_problem
from tests.unit.image_references import HEX, PINNED, PROBLEMS


@pytest.mark.parametrize("image", PINNED)
def test_reference_with_registry_name_and_whole_digest_is_pinned(image: str) -> None:
    assert pin_problem(image) is None
    assert is_pinned(image)


@pytest.mark.parametrize("image", PROBLEMS)
def test_unpinned_reference_is_refused_with_the_remedy(image: str) -> None:
    assert pin_problem(image) == PROBLEMS[image]
    assert not is_pinned(image)


def test_missing_image_is_refused() -> None:
    assert pin_problem(None) == PROBLEMS[""]


def test_reference_longer_than_the_schema_allows_is_refused() -> None:
    image = f"registry.example/{'a' * MAX_IMAGE}@sha256:{HEX}"
    assert not is_pinned(image)
    assert pin_problem(image) == f"its image is longer than 512 characters; {HOW_TO_PIN}"


def test_digest_is_the_part_after_the_at_sign() -> None:
    assert digest_of(f"registry.example:5000/web:1@sha256:{HEX}") == f"sha256:{HEX}"
    assert digest_of("registry.example/web:1") == ""
