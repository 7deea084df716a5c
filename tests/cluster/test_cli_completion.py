"""Completion of `kubectl immutable` by kubectl's own completion: the names are the cluster's."""

from __future__ import annotations

import pytest

from tests.cluster.operator_process import Operators
from tests.cluster.plugin import Told, complete
from tests.cluster.services import Service, names
from tests.controlplane import ControlPlane
from tests.waiting import wait_for

NO_FILES = "Completion ended with directive: ShellCompDirectiveNoFileComp\n"


@pytest.fixture(scope="module")
def steady(
    control_plane: ControlPlane, running_operators: Operators, module_namespace: str
) -> Service:
    """A service with two revisions that is ready and stays as it is."""
    running_operators.main.until_leading()
    web = Service(control_plane, module_namespace, "steady")
    for image in "ab":
        web.apply(image=image, replicas=1)
        web.until_ready()
    return web


def offered(told: Told) -> list[str]:
    """The candidates, without their descriptions."""
    assert told.err.endswith(NO_FILES), told.err
    *lines, directive = told.out.splitlines()
    assert directive == ":4"
    return [line.partition("\t")[0] for line in lines]


def offers(web: Service, expected: set[str], *words: str) -> Told:
    """Wait until these are the candidates: a slow machine may not answer in the time of a shell."""

    def answered() -> Told | None:
        told = complete(web.plane, *words)
        return told if set(offered(told)) == expected else None

    told = wait_for(f"{' '.join(words)}: {expected}", answered)
    assert told
    return told


def test_services_are_offered(steady: Service) -> None:
    offers(steady, {"steady"}, "-n", steady.namespace, "undo", "")
    assert offered(complete(steady.plane, "undo", f"-n={steady.namespace}", "no")) == []


def test_services_and_pods_are_offered_for_why(steady: Service) -> None:
    offers(steady, {"steady", *names(steady)}, "why", "--namespace", steady.namespace, "")


def test_pods_of_the_service_are_offered_for_instance(steady: Service) -> None:
    where = ("-n", steady.namespace, "--instance", "")
    offers(steady, names(steady), "regenerate", "steady", *where)
    assert offered(complete(steady.plane, "regenerate", "other", *where)) == []


def test_revisions_are_offered_the_newest_first_with_their_phase(steady: Service) -> None:
    told = offers(steady, {"2", "1"}, "undo", "steady", "-n", steady.namespace, "--to", "")
    assert offered(told) == ["2", "1"]
    assert told.out.splitlines()[0] == f"2\t{steady.revision()} Good"


def test_namespaces_are_offered(steady: Service) -> None:
    words = ("get", "-n", steady.namespace[:-1])
    steady.until(
        "its namespace", lambda: steady.namespace in offered(complete(steady.plane, *words))
    )


def test_nothing_is_offered_to_a_user_without_permissions(steady: Service) -> None:
    told = complete(steady.plane, "get", "-n", steady.namespace, "", actor="nobody-special")
    assert offered(told) == []
    assert "error" not in told.out + told.err
