"""A person's command: on record with who gave it; passing a freeze is a right of its own.

With the MutatingAdmissionPolicy of the chart, which writes the actor from Kubernetes 1.36 on, and
without it. No operator is needed: what is refused is refused by the API server.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from immutable_operator.admission.policies import object_name
from immutable_operator.api.names import API_VERSION
from tests.cluster.guards import ADMISSION, refused_by
from tests.cluster.operator_process import ACCOUNT, USER, Installation
from tests.cluster.people import PERSONS, full_rights
from tests.cluster.services import KIND_PATH
from tests.controlplane import ControlPlane
from tests.controlplane.api import MERGE_PATCH, ApiError, Json
from tests.waiting import wait_for

RBAC = "/apis/rbac.authorization.k8s.io/v1"
OVERRIDE = {"overrideFreeze": True, "reason": "a fire"}
each_person = pytest.mark.parametrize("person", PERSONS)


class Actions:
    """The actions of one namespace, in which alice may do everything."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self.path = f"{KIND_PATH}/{namespace}/immutableactions"
        full_rights(plane, namespace)

    def create(self, person: str, **spec: Any) -> Json:
        """A command to a service that is not there; ApiError where it is refused."""
        return self.post(person, {"type": "Regenerate", "service": "nobody", **spec})

    def post(self, person: str, spec: Any) -> Json:
        body = {
            "apiVersion": API_VERSION,
            "kind": "ImmutableAction",
            "metadata": {"name": f"act-{secrets.token_hex(4)}"},
            "spec": spec,
        }
        made: Json = self.plane.api(person).request("POST", self.path, body)
        return made

    def refused(self, person: str, **spec: Any) -> str:
        """Assert that the policy refuses it; gives the sentence that the person reads."""
        with pytest.raises(ApiError) as caught:
            self.create(person, **spec)
        assert refused_by(caught.value) == object_name("actions"), str(caught.value)
        assert caught.value.status == 403
        return str(caught.value).partition("denied request: ")[2]


@pytest.fixture(scope="module")
def actions(installation: Installation, module_namespace: str) -> Actions:
    return Actions(installation.plane, module_namespace)


@pytest.fixture
def team(actions: Actions) -> str:
    """Somebody with the role edit in the namespace, and no right in the cluster."""
    name = f"team-{secrets.token_hex(3)}"
    actions.plane.grant(name, actions.namespace, "edit")
    wait_for("the role is in force", lambda: actions.create(name))
    return name


def test_c4_edit_role_does_not_override_freeze(actions: Actions, team: str) -> None:
    actions.create(team, overrideFreeze=False)
    said = actions.refused(team, **OVERRIDE)
    assert f"{team} may not override a change freeze: this requires the verb override on" in said
    assert "ask a cluster administrator for it, or wait until the freeze ends" in said


def test_c4_full_namespace_rights_do_not_override_freeze(actions: Actions) -> None:
    """A freeze is the cluster's: a Role that says everything says nothing of it."""
    assert "may not override a change freeze" in actions.refused("alice", **OVERRIDE)
    actions.create("admin", **OVERRIDE)


def test_c4_cluster_wide_admin_role_does_not_override_freeze(actions: Actions, team: str) -> None:
    bind(actions.plane, team, "admin")
    ask = ("auth", "can-i", "list", "immutablefreezes.immutable.dev")
    wait_for(
        "the role is in force",
        lambda: actions.plane.kubectl(*ask, actor=team, check=False).stdout.startswith("yes"),
    )
    assert "may not override a change freeze" in actions.refused(team, **OVERRIDE)


def bind(plane: ControlPlane, person: str, role: str) -> None:
    name = f"{person}-{secrets.token_hex(3)}"
    plane.kubectl("create", "clusterrolebinding", name, f"--clusterrole={role}", f"--user={person}")


def test_c4_override_verb_overrides_freeze(actions: Actions, team: str) -> None:
    rule = {
        "apiGroups": ["immutable.dev"],
        "resources": ["immutablefreezes"],
        "verbs": ["override"],
    }
    name = f"{team}-passes"
    body = {"metadata": {"name": name}, "rules": [rule]}
    actions.plane.api().request("POST", f"{RBAC}/clusterroles", body)
    bind(actions.plane, team, name)
    wait_for("it passes", lambda: actions.create(team, **OVERRIDE))


def test_c4_freezes_role_overrides_freeze(actions: Actions, team: str) -> None:
    bind(actions.plane, team, f"{ACCOUNT}-freezes")
    wait_for("it passes", lambda: actions.create(team, **OVERRIDE))


@pytest.fixture
def no_defaults(installation: Installation) -> Iterator[None]:
    """As before Kubernetes 1.36: nothing writes the actor."""
    path = f"{ADMISSION}/mutatingadmissionpolicybindings/{ACCOUNT}-actor"
    api = installation.plane.api()
    kept = api.get(path)
    api.request("DELETE", path)
    yield
    kept["metadata"] = {k: kept["metadata"][k] for k in ("name", "labels")}
    api.request("POST", path.rpartition("/")[0], kept)


def actor_of(made: Json) -> str:
    return str(made["spec"].get("actor", ""))


@each_person
def test_c4_actor_is_written_by_api_server(actions: Actions, person: str) -> None:
    """Both policies live together: the first writes it, the second finds nothing to refuse."""
    me = wait_for("the actor is written", lambda: actor_of(actions.create(person)))
    assert me != "somebody-else"
    assert actor_of(actions.create(person, actor="somebody-else")) == me
    assert actor_of(actions.create(person, actor="")) == me
    assert actor_of(actions.create(person, actor=None)) == me, "no way to stay unnamed"


@each_person
@pytest.mark.usefixtures("no_defaults")
def test_c4_forged_actor_is_refused_without_mutating_policy(actions: Actions, person: str) -> None:
    wait_for("nothing writes it", lambda: actor_of(actions.create(person)) == "")
    said = actions.refused(person, actor="somebody-else")
    assert "leave spec.actor out" in said
    me = said.partition("spec.actor must be the user who creates the action (")[2].partition(")")[0]
    assert actor_of(actions.create(person, actor=me)) == me
    assert actor_of(actions.create(person, actor="")) == ""
    assert "must be the user who creates the action" in actions.refused(person, actor=f"{me} ")
    assert "must be the user who creates the action" in actions.refused(person, actor=USER)


NO_ACTIONS: dict[str, Any] = {
    "none": None,
    "a text": "x",
    "a list": [],
    "an override in words": {"type": "Regenerate", "service": "a", "overrideFreeze": "true"},
    "a number": 5,
    "an actor that is a number": {"type": "Regenerate", "service": "a", "actor": 1},
    "an actor that is a list": {"type": "Regenerate", "service": "a", "actor": []},
    "an actor that is a map": {"type": "Regenerate", "service": "a", "actor": {"a": "b"}},
}


@pytest.mark.parametrize("given", NO_ACTIONS.values(), ids=NO_ACTIONS)
def test_c4_invalid_action_is_refused(actions: Actions, given: Any) -> None:
    with pytest.raises(ApiError) as caught:
        actions.post("alice", given)
    assert caught.value.status == 422, str(caught.value)
    assert "resulted in error" not in str(caught.value)


@each_person
def test_c4_action_status_is_written_by_operator_only(actions: Actions, person: str) -> None:
    path = f"{actions.path}/{actions.create(person)['metadata']['name']}/status"
    body = {"status": {"phase": "Succeeded"}}
    with pytest.raises(ApiError, match="only the operator records the outcome of an action"):
        actions.plane.api(person).request("PATCH", path, body, MERGE_PATCH)
