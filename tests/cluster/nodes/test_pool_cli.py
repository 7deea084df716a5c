"""`kubectl immutable get, plan, history, diff, undo, resume` for node pools."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.node_pools import Pool
from tests.cluster.operator_process import NAMESPACE
from tests.cluster.plugin import Told, ask
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
    undone = ask(pool.plane, "undo", name, "--pool", "--to=1", "--wait", "--timeout=100")
    assert undone.code == 0, undone.err
    assert [row["RUNS"] for row in ask_history(pool)] == ["1", "0"]
    actions = pool.plane.api().get(f"{KIND_PATH}/{NAMESPACE}/immutableactions")["items"]
    assert [a["spec"]["type"] for a in actions if a["spec"].get("pool") == name] == ["RollBack"]
    resumed = ask(pool.plane, "resume", name, "--pool", "--wait", "--timeout=100")
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


def test_pool_is_shown_and_its_replacement_foretold(pool: Pool, tmp_path: Path) -> None:
    name, file = pool.name, tmp_path / "pool.yaml"
    file.write_text(json.dumps({**pool.manifest(), "spec": {**pool.spec, "replicas": 1}}))
    fresh = ask(pool.plane, "plan", f"-f={file}")
    assert fresh.code == 1, fresh.err
    assert fresh.out.startswith(f"pool {name} does not exist: it would be created, with revision 1")
    pool.apply(replicas=1)
    pool.until_ready()
    [first] = pool.nodes()
    shown = ask(pool.plane, "get", name, "--pool")
    assert shown.code == 0, shown.err
    assert shown.out.startswith(f"pool {name}: Ready since ")
    [row] = Told(0, shown.out.split("\n\n")[1], "").table
    assert (row["NODE"], row["STATE"]) == (first, "Ready")
    assert name in {row["NAME"] for row in ask(pool.plane, "get", "--pool").table}
    names = ask(pool.plane, "get", name, "--pool", "-o=name").out.split()
    assert names == [f"immutablenodepool.immutable.dev/{name}", f"node/{first}"]
    assert ask(pool.plane, "plan", f"-f={file}").code == 0
    file.write_text(
        json.dumps(
            {**pool.manifest(), "spec": {**pool.spec, "replicas": 1, "image": {"id": "image-2"}}}
        )
    )
    done = ask(pool.plane, "plan", f"-f={file}", "-o=json")
    assert done.code == 1, done.err
    [told] = json.loads(done.out)
    [born] = [s for s in told["steps"] if s["move"] == "create"]
    assert [s["name"] for s in told["steps"] if s["move"] == "retire"] == [first]
    assert (told["available"]["least"], born["replaces"]) == (1, first)
    pool.apply(image={"id": "image-2"})
    pool.until("the foretold node is the only one", lambda: set(pool.nodes()) == {born["name"]})


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
