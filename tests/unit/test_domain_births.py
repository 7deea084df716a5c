"""What instances are created from: the template, with a read-only root file system by default."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from immutable_operator.domain.config.births import WRITABLE, as_written, born_from
from immutable_operator.domain.config.hashing import (
    find_revision,
    is_made_of,
    revision_hash,
    template_of,
)
from immutable_operator.domain.model import POD_HASH, Revision, revision_id
from immutable_operator.wire.spec import read_spec
from tests.unit.service_specs import PIN, spec

READ_ONLY = {"readOnlyRootFilesystem": True}
Template = dict[str, Any]


def pod(*contexts: Any, **more: Any) -> Template:
    """A template with a container for each security context; ... is none."""
    containers = [
        {"name": f"c{n}", "image": PIN, **({} if context is ... else {"securityContext": context})}
        for n, context in enumerate(contexts)
    ]
    return {"spec": {"containers": containers, **more}}


def contexts(template: Any, field: str = "containers") -> list[Any]:
    return [c.get("securityContext") for c in template["spec"][field]]


@pytest.mark.parametrize(
    ("given", "born"),
    [
        (..., READ_ONLY),
        (None, READ_ONLY),
        ({}, READ_ONLY),
        ({"runAsUser": 7}, {"runAsUser": 7, **READ_ONLY}),
        ({"readOnlyRootFilesystem": None}, READ_ONLY),
        ({"readOnlyRootFilesystem": False}, {"readOnlyRootFilesystem": False}),
        (READ_ONLY, READ_ONLY),
    ],
)
def test_root_file_system_is_read_only_unless_the_container_says_otherwise(
    given: Any, born: Any
) -> None:
    template = pod(given, initContainers=pod(given)["spec"]["containers"])
    before = copy.deepcopy(template)
    assert contexts(born_from(template)) == [born]
    assert contexts(born_from(template), "initContainers") == [born]
    assert template == before


def test_service_that_opts_out_keeps_its_template() -> None:
    template = pod(..., {"runAsUser": 7})
    assert born_from({**template, WRITABLE: True}) == template
    assert as_written({**template, WRITABLE: True}) == template


def test_windows_pods_are_left_alone() -> None:
    """The API server refuses the field there."""
    template = pod(..., os={"name": "windows"})
    assert born_from(template) == template
    assert contexts(born_from(pod(..., os={"name": "linux"}))) == [READ_ONLY]


@pytest.mark.parametrize("odd", [{}, {"spec": None}, {"spec": {"containers": [7, "x"]}}])
def test_template_of_another_shape_is_left_alone(odd: Template) -> None:
    assert born_from(odd) == odd


def recorded(template: Template, version: str = POD_HASH) -> Revision:
    full = revision_hash(template, version)
    short = revision_id(full, ())
    return Revision(short, 1, full, f"web-im{short}", "uid")


@pytest.mark.parametrize("version", ["v1", "v3"])
@pytest.mark.parametrize("opted", [{}, {WRITABLE: True}])
def test_revision_of_an_earlier_release_keeps_creating_what_it_created(
    version: str, opted: Template
) -> None:
    """Whatever the service says of its root file system by now: nothing is replaced for it."""
    template = pod(...)
    before = recorded(template, version)
    assert find_revision({**template, **opted}, (before,)) == before
    assert template_of(before, {**template, **opted}) == template


def test_new_revision_says_what_its_instances_are_created_with() -> None:
    template = pod(..., {"readOnlyRootFilesystem": False})
    protected, writable = recorded(template), recorded({**template, WRITABLE: True})
    assert protected.hash != writable.hash
    assert template_of(protected, template) == born_from(template)
    assert template_of(writable, {**template, WRITABLE: True}) == template
    assert template_of(protected, {**template, WRITABLE: True}) is None
    assert template_of(writable, template) is None


def test_default_that_is_written_out_makes_no_new_revision() -> None:
    assert is_made_of(recorded(pod(...)), pod(READ_ONLY))
    assert is_made_of(recorded({**pod(False), WRITABLE: True}), {**pod(False), WRITABLE: True})
    said = pod({"readOnlyRootFilesystem": False})
    assert is_made_of(recorded(said), {**said, WRITABLE: True})


def test_service_opts_out_in_its_spec() -> None:
    def template(**immutability: Any) -> Any:
        return read_spec("web", spec(immutability=immutability), 0.0)[0].template

    assert template() == template(writableRootFilesystem=False) == spec()["template"]
    assert template(writableRootFilesystem=True) == {**spec()["template"], WRITABLE: True}
