"""The status as a contract: what people, kubectl, Flux and Argo CD read from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cluster import kstatus
from tests.cluster.history import History
from tests.cluster.operator_process import Operators
from tests.cluster.services import KIND_PATH, KINDS, Service, condition, conditions, is_ready, pin


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_unobserved_generation_is_in_progress(web: Service, operators: Operators) -> None:
    """A new or changed object must not look finished before the operator has processed it."""
    operators.main.stop()
    web.apply(image="a", replicas=1)
    assert web.get()["status"] == {"observedGeneration": -1}
    assert kstatus.compute(web.get()) == "InProgress"
    operators.restart()
    web.until_ready()
    assert kstatus.compute(web.get()) == "Current"
    operators.main.stop()
    web.apply(image="b")
    assert condition(web.get(), "Ready")["status"] == "True"
    assert kstatus.compute(web.get()) == "InProgress"


def test_kstatus_follows_rollout(web: Service) -> None:
    web.apply(image="a", replicas=2, sim={"ready-delay": "1s"})
    body = web.once("the operator saw it", lambda it: conditions(it)["Reconciling"] == "True")
    assert conditions(body) == {"Ready": "False", "Reconciling": "True", "Stalled": "False"}
    assert condition(body, "Ready")["reason"] == "Progressing"
    assert kstatus.compute(body) == "InProgress"
    web.until_ready()
    body = web.get()
    assert conditions(body) == {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
    assert kstatus.compute(body) == "Current"
    web.apply(image="b")
    body = web.once("it replaces", lambda it: condition(it, "Ready")["reason"] == "Replacing")
    assert conditions(body) == {"Ready": "False", "Reconciling": "True", "Stalled": "False"}
    assert kstatus.compute(body) == "InProgress"
    assert "stale instances remain" in condition(body, "Ready")["message"]
    web.until_ready()
    for kind in KINDS:
        assert condition(web.get(), kind)["observedGeneration"] == 2
    web.apply(image="c", sim={"fault": "image-pull"})
    web.until_stalled("ImagePull")
    body = web.get()
    assert conditions(body) == {"Ready": "False", "Reconciling": "False", "Stalled": "True"}
    assert kstatus.compute(body) == "Failed"
    path = f"{KIND_PATH}/{web.namespace}/immutableservices/web"
    # The answer is the object; a moment later nothing may be left of it.
    deleted = web.plane.api().request("DELETE", path, {"propagationPolicy": "Foreground"})
    assert kstatus.compute(deleted) == "Terminating"


def test_kubectl_wait_follows_conditions(web: Service) -> None:
    web.apply(image="a", replicas=2, sim={"ready-delay": "1s"})
    told = web.kubectl("wait", "imsvc/web", "--for=condition=Ready", "--timeout=100s")
    assert "immutableservice.immutable.dev/web condition met" in told
    assert sum(map(is_ready, web.pods())) == 2
    web.apply(image="b", sim={"fault": "config-error"})
    told = web.kubectl("wait", "imsvc/web", "--for=condition=Stalled", "--timeout=100s")
    assert "condition met" in told


def test_counts_and_revisions_in_the_status(web: Service) -> None:
    web.apply(image="a", replicas=3)
    web.until_ready()
    first, status = web.revision(), web.status()
    counts = {key: status[f"{key}Replicas"] for key in ("desired", "ready", "available")}
    assert counts == {"desired": 3, "ready": 3, "available": 3}
    assert (status["replicas"], status["currentReplicas"], status["staleReplicas"]) == (3, 3, 0)
    assert status["selector"] == "immutable.dev/service=web"
    assert status["currentRevision"] == status["lastGoodRevision"] == first
    assert status["blockers"] == []
    assert "rollout" not in status
    born = min(moment(pod["metadata"]["creationTimestamp"]) for pod in web.pods())
    assert moment(status["oldestInstance"]) == born
    web.apply(image="b", sim={"fault": "never-ready"})
    web.until("the counts follow", lambda: web.status()["replicas"] == 4)
    status = web.status()
    assert (status["currentReplicas"], status["staleReplicas"]) == (1, 3)
    assert (status["readyReplicas"], status["availableReplicas"]) == (3, 3)
    assert status["lastGoodRevision"] == first != status["currentRevision"]
    rollout = status["rollout"]
    assert rollout["revision"] == status["currentRevision"]
    assert (rollout["desiredReplicas"], rollout["mostCurrent"], rollout["leastStale"]) == (3, 0, 3)
    assert moment(rollout["startedAt"]) <= moment(rollout["progressedAt"]) <= datetime.now(UTC)


def test_printer_columns(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    heads, row = (line.split() for line in web.kubectl("get", "imsvc").splitlines())
    assert heads == [
        *("NAME", "DESIRED", "CURRENT", "READY", "STALE", "REVISION", "OLDEST", "STATUS", "AGE"),
    ]
    assert row[:6] == ["web", "2", "2", "2", "0", web.revision()]
    assert row[7] == "Current"
    assert row[6].endswith("s")
    assert row[8].endswith("s")
    wide = web.kubectl("get", "imsvc", "-o", "wide")
    assert wide.splitlines()[0].split()[-2:] == ["SELECTOR", "ADMISSION"]
    assert f"revision 1 ({web.revision()}): 2 of 2 instances are current and available" in wide
    assert wide.split()[-1] == "immutable.dev/service=web"
    heads, row = (line.split() for line in web.kubectl("get", "imrev").splitlines())
    columns = ["NAME", "OWNER", "NUMBER", "REVISION", "PHASE", "REASON", "IMAGE", "BY", "AGE"]
    assert heads == columns
    short = pin("a").partition("sha256:")[2][:12]
    assert row[1:7] == ["web", "1", web.revision(), "Good", "Created", f"web@{short}"]


def test_events_are_reported_once(web: Service, operators: Operators) -> None:
    """Not again by the next plan, nor by an operator that restarts."""
    web.apply(image="a", replicas=2)
    web.until_ready()
    web.apply(image="b")
    web.until_ready()
    web.apply(image="c", sim={"fault": "image-pull"})
    web.until_stalled("ImagePull")
    operators.restart().until_leading()
    web.until("it looked", lambda: web.status()["rollout"]["mostCurrent"] == 0)
    web.always("it is told once", lambda: len(web.events("Stalled")) == 1, 3)
    told = [(e["reason"], e["type"], e["count"]) for e in web.events()]
    assert sorted(told) == [
        *[("Blocked", "Warning", 1)] * 1,
        *[("ReplacementFinished", "Normal", 1)] * 1,
        *[("RevisionCreated", "Normal", 1)] * 3,
        *[("Stalled", "Warning", 1)] * 1,
    ]
    [finished] = web.events("ReplacementFinished")
    first, second, _ = (r["spec"]["revision"] for r in web.revisions())
    assert finished["message"].startswith(
        f"revision 2 ({second}) replaced revision 1 ({first}): 2 instances in "
    )
    described = web.kubectl("describe", "imsvc", "web")
    assert "ReplacementFinished" in described
    assert finished["reportingComponent"] == "immutable-operator"


def test_each_replacement_is_reported(web: Service) -> None:
    for image in ("a", "b", "a", "b"):
        web.apply(image=image, replicas=1)
        web.until_ready()
    web.until("three are told", lambda: len(web.events("ReplacementFinished")) == 3)
    assert len(web.events("RevisionCreated")) == 2


def test_blocker_keeps_its_start_time(web: Service) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    web.apply(image="a", replicas=1, pod={"nodeSelector": {"disk": "nowhere"}})
    web.until("it is blocked", lambda: web.blocker("Unschedulable"))
    blocker = web.blocker("Unschedulable")
    assert blocker
    assert began <= moment(blocker["since"]) <= datetime.now(UTC)
    assert blocker["object"] == web.pods()[0]["metadata"]["name"]
    web.until("one event", lambda: len(web.events("Blocked")) == 1)
    web.apply(replicas=2)
    web.until("the next one waits, too", lambda: web.status()["desiredReplicas"] == 2)
    web.until("it is counted", lambda: web.status()["replicas"] == 2)
    later = web.blocker("Unschedulable")
    assert later
    assert later["since"] == blocker["since"]
    assert len(web.events("Blocked")) == 1


def test_progress_deadline_of_a_held_rollout(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    rollout = {"progressDeadlineSeconds": 3, "onFailure": "Hold"}
    web.apply(image="b", sim={"fault": "never-ready"}, rollout=rollout)
    # Long before the default deadline, which is ten minutes.
    stalled = web.until_stalled("ProgressDeadlineExceeded")
    assert "no progress for 3 s" in stalled["message"]
    status = web.status()
    [failed] = [r for r in web.revisions() if r["status"]["phase"] == "Failed"]
    started = moment(failed["status"]["startedAt"])
    assert moment(failed["status"]["failedAt"]) >= started + timedelta(seconds=3)
    assert kstatus.compute(web.get()) == "Failed"
    assert status["availableReplicas"] == 2, "the last good ones serve"
    [event] = web.events("RevisionFailed")
    assert "ProgressDeadlineExceeded" in event["message"]
    # What failed stays failed, also when its pods do get ready after all.
    for pod in web.active():
        web.mark_pod(pod["metadata"]["name"], fault=None)
    web.until("it is ready", lambda: web.status()["availableReplicas"] == 3)
    assert conditions(web.get())["Stalled"] == "True"
    assert web.images().count(pin("a")) == 2


def test_flapping_readiness_does_not_postpone_deadline(web: Service) -> None:
    """Progress counts by its high-water mark: ready, unready and ready again is none.

    Nor does it move the good ones each time: one made way, and was made good once.
    """
    web.apply(image="a", replicas=2)
    web.until_ready()
    rollout = {"progressDeadlineSeconds": 5, "maxSurge": 2, "onFailure": "Hold"}
    web.apply(image="b", sim={"fault": "never-ready"}, rollout=rollout)
    web.until("two of b", lambda: web.images().count(pin("b")) == 2)
    # One of them gets ready and unready every second; the other never does.
    flapping = next(p for p in web.active() if p["spec"]["containers"][0]["image"] == pin("b"))
    with History(web) as history:
        web.mark_pod(flapping["metadata"]["name"], fault="flapping")
        web.until_stalled("ProgressDeadlineExceeded")
    marks = web.status()["rollout"]
    assert (marks["mostCurrent"], marks["leastStale"]) == (1, 1)
    assert len(history.births()) <= 1, history.story()
    assert sum(map(is_ready, web.active())) >= 2, "what works is there all the time"


def test_lost_readiness_is_reported(web: Service) -> None:
    web.apply(image="a", replicas=2)
    web.until_ready()
    sick = web.pods()[0]["metadata"]["name"]
    web.mark_pod(sick, fault="not-ready")
    web.until("it is not Ready", lambda: conditions(web.get())["Ready"] == "False")
    assert condition(web.get(), "Ready")["reason"] == "Progressing"
    assert "1 of 2 instances are current and available" in condition(web.get(), "Ready")["message"]
    web.mark_pod(sick, fault=None)
    web.until_ready()
    assert sick in {pod["metadata"]["name"] for pod in web.active()}, "it was not replaced"
