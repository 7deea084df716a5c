"""`kubectl immutable history, diff, undo, resume` for node pools."""

from __future__ import annotations

from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import NAMESPACE
from tests.cluster.plugin import ask
from tests.cluster.services import KIND_PATH


def test_pool_has_history_and_goes_back_and_forth(pool: Pool) -> None:
    """Its records and actions are in the namespace of the operator, which the command finds."""
    name = pool.name
    pool.apply(replicas=1)
    pool.until_ready()
    pool.apply(image={"id": "image-2"})
    pool.until("the second image is complete", lambda: len(ask_history(pool)) == 2)
    pool.until_ready()
    first, second = ask_history(pool)
    assert [(r["IMAGE"], r["RUNS"], r["ASKED"]) for r in (first, second)] == [
        ("image-1", "0", "-"),
        ("image-2", "1", "*"),
    ]
    differs = ask(pool.plane, "diff", name, "1", "--pool")
    assert differs.code == 1, differs.err
    assert differs.out.splitlines()[2:] == [
        *("@@ -1 +1 @@ node.image.id", "-image-1", "+image-2"),
    ]
    undone = ask(pool.plane, "undo", name, "--pool", "--to=1", "--wait", "--timeout=90")
    assert undone.code == 0, undone.err
    assert [row["RUNS"] for row in ask_history(pool)] == ["1", "0"]
    actions = pool.plane.api().get(f"{KIND_PATH}/{NAMESPACE}/immutableactions")["items"]
    assert [a["spec"]["type"] for a in actions if a["spec"].get("pool") == name] == ["RollBack"]
    resumed = ask(pool.plane, "resume", name, "--pool", "--wait", "--timeout=90")
    assert resumed.code == 0, resumed.err
    assert [row["RUNS"] for row in ask_history(pool)] == ["0", "1"]


def test_pool_has_a_lineage(pool: Pool) -> None:
    name = pool.name
    pool.apply(replicas=1)
    pool.until_ready()
    [first] = pool.nodes()
    pool.apply(image={"id": "image-2"})
    pool.until("the first node is gone", lambda: first not in pool.nodes())
    pool.until_ready()
    [second] = pool.nodes()
    path = f"{KIND_PATH}/{NAMESPACE}/immutablelineages"

    def recorded() -> list[str]:
        found = pool.plane.api().get(path)["items"]
        entries = [
            e for i in found if i["spec"].get("pool") == name for e in i["spec"]["replacements"]
        ]
        return [e["name"] for e in entries if "retired" in e]

    pool.until("it is on record", lambda: recorded() == [first])
    for asked in (name, first):
        done = ask(pool.plane, "lineage", asked, "--pool")
        assert done.code == 0, done.err
        assert [row["INSTANCE"] for row in done.table] == [first, f"└ {second}"]
    why = ask(pool.plane, "why", first, "--pool")
    assert why.out.endswith(f"Its successor is {second}.\n"), why.err


def ask_history(pool: Pool) -> list[dict[str, str]]:
    done = ask(pool.plane, "history", pool.name, "--pool")
    assert done.code == 0, done.err
    return done.table


def test_pool_that_is_not_there_and_one_without_rights_are_one_sentence(pool: Pool) -> None:
    missing = ask(pool.plane, "history", pool.name, "--pool")
    assert missing.code == 2
    assert missing.err == (
        f"error: there is no ImmutableNodePool {pool.name}; list all with: kubectl get imnp\n"
    )
    denied = ask(pool.plane, "undo", pool.name, "--pool", actor="mallory")
    assert denied.code == 2
    assert denied.err.startswith("error: permission denied: ")
    assert denied.err.endswith("; ask for the role view in the cluster\n")
