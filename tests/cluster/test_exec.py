"""`kubectl immutable exec`: break-glass access, with the user's own name and groups.

Simulated kubelets let nobody into a container: an exec fails always, after admission.
"""

from __future__ import annotations

import pytest

from immutable_operator.cli.enter import Access, command
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.plugin import run
from tests.cluster.services import Service
from tests.cluster.webhook import LET_IN, behind_glass, mark_of, unmarked


@pytest.fixture
def glass(web: Service, operator: OperatorProcess) -> Service:
    return behind_glass(web, 2)


def test_pod_is_entered_and_marked_with_the_name_of_the_user(glass: Service) -> None:
    pod = unmarked(glass)[0]
    done = run(glass, "exec", "--yes", pod, "--", "true")
    assert LET_IN in done.err
    assert f"{pod} is an immutable instance: it is marked as tainted, and kept" in done.err
    mark = mark_of(glass.plane, glass.namespace, pod)
    assert mark is not None
    assert (mark["what"], mark["by"]) == ("exec", "admin")


def test_pod_is_not_entered_without_confirmation(glass: Service) -> None:
    pod = unmarked(glass)[0]
    done = run(glass, "exec", pod, "--", "true")
    assert done.code in (1, 2)
    assert LET_IN not in done.err
    assert mark_of(glass.plane, glass.namespace, pod) is None


def test_user_who_may_not_impersonate_is_told(glass: Service) -> None:
    glass.kubectl("create", "rolebinding", "alice", "--clusterrole=edit", "--user=alice")
    pod = unmarked(glass)[0]
    done = run(glass, "exec", "--yes", pod, "--", "true", actor="alice")
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert "you may not impersonate the group immutable:break-glass" in done.err
    assert mark_of(glass.plane, glass.namespace, pod) is None


def test_bad_input_is_one_sentence(glass: Service) -> None:
    glass.kubectl("run", "plain", "--image=registry.example/web:v1")
    for args, says in (
        (("--yes", "nothing", "--", "true"), "there is no pod nothing in namespace"),
        (("--yes", "plain", "--", "true"), "use: kubectl exec plain"),
        (("--yes", "--as=bob", "plain", "--", "true"), "leave out --as and --as-group"),
        (("plain",), "write options, the pod, -- and the command"),
        (("plain", "-it", "--", "sh"), "write options, the pod, -- and the command"),
    ):
        done = run(glass, "exec", *args)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert says in done.err


def test_kubectl_gets_the_user_all_groups_and_the_options() -> None:
    access = Access("shop", "web-im5f2ed9b0-37nt2", "jane", ("developers",))
    assert command(access, ["--container=web", "--stdin"], ["sh", "-c", "ls"]) == [
        *("kubectl", "exec", "--namespace=shop", "--as=jane"),
        *("--as-group=immutable:break-glass", "--as-group=developers"),
        *("--container=web", "--stdin", "web-im5f2ed9b0-37nt2", "--", "sh", "-c", "ls"),
    ]
