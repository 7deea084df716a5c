"""What keeps a pod from working, from its status, in messages that do not flicker.

The kubelet alternates between ErrImagePull and ImagePullBackOff, and between running and
CrashLoopBackOff; people want the cause, and a status that is not rewritten each time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from immutable_operator.domain.model import Trouble, TroubleKind
from immutable_operator.kube.times import moment

__all__ = ["Condition", "ContainerStatus", "PodStatus", "trouble_of"]

IMAGE_PULL = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}
IMAGE_PULL |= {"ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
RESTARTS_UNTIL_SETTLED = 3
# How registries and container runtimes say that an image does not exist; not: no access, no answer.
ABSENT = re.compile(r"not found|manifest unknown|manifest_unknown|does not exist", re.IGNORECASE)
DENIED = re.compile(r"denied|unauthorized|forbidden|may require|no such host", re.IGNORECASE)
# How a kubelet names an object that is missing, or that lacks a key.
MISSING = re.compile(
    r'(?:secret|configmap) "([^"]+)" not found|in (?:Secret|ConfigMap) [^/\s]+/(\S+)', re.IGNORECASE
)
MAY_NOT_RUN = "runAsNonRoot"
# What a kubelet reports of a container that ended with its node, so without an exit code.
ENDED_UNSEEN = ("Unknown", 255)


class Condition(msgspec.Struct, rename="camel", frozen=True):
    """A pod condition."""

    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


class _Waiting(msgspec.Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _Terminated(msgspec.Struct, rename="camel", frozen=True):
    exit_code: int = 0
    reason: str = ""
    message: str = ""


class _Running(msgspec.Struct, rename="camel", frozen=True):
    started_at: str | None = None


class _State(msgspec.Struct, frozen=True):
    running: _Running | None = None
    waiting: _Waiting | None = None
    terminated: _Terminated | None = None


class ContainerStatus(msgspec.Struct, rename="camel", frozen=True):
    """The part of a container's status that shows trouble."""

    name: str = ""
    image: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    ready: bool = False
    restart_count: int = 0
    state: _State = _State()
    last_state: _State = _State()

    @property
    def ended_well(self) -> bool:
        """Whether it has completed (an init container)."""
        return self.state.terminated is not None and self.state.terminated.exit_code == 0


class PodStatus(msgspec.Struct, rename="camel", frozen=True):
    """The part of a pod's status that the operator reads."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    start_time: str | None = None
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []
    init_container_statuses: list[ContainerStatus] = []


def trouble_of(status: PodStatus, images: Mapping[str, str], node: str | None) -> Trouble | None:
    """Return the first trouble found, or None while the pod works or is starting.

    ``images`` are those of the pod's spec by container: the status may name another image.
    """
    if status.phase in ("Failed", "Succeeded"):
        text = ": ".join(part for part in (status.reason, status.message) if part)
        return Trouble(TroubleKind.ENDED, text or f"it ended ({status.phase})")
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.reason == "Unschedulable":
            return Trouble(TroubleKind.UNSCHEDULABLE, condition.message or "no node matches")
    for container in (*status.init_container_statuses, *status.container_statuses):
        image = images.get(container.name, container.image)
        if trouble := _container_trouble(container, image, node):
            since = moment(status.start_time) if status.start_time else None
            return replace(trouble, since=since)
    if _given_up(status.conditions):
        text = f"node {node} is not ready or does not respond; the containers were ready before"
        return Trouble(TroubleKind.NODE_NOT_READY, text)
    return None


def _given_up(conditions: list[Condition]) -> bool:
    """Return whether the node controller, not the kubelet, set the pod to not ready.

    A kubelet that sets it gives a reason, or sets the same for the containers.
    """
    found = {c.type: c for c in conditions}
    ready, containers = found.get("Ready"), found.get("ContainersReady")
    return (
        ready is not None
        and containers is not None
        and ready.status == "False"
        and not ready.reason
        and containers.status == "True"
    )


def _container_trouble(container: ContainerStatus, image: str, node: str | None) -> Trouble | None:
    waiting = container.state.waiting
    reason = waiting.reason if waiting else ""
    if waiting and reason in IMAGE_PULL:
        text = f"container {container.name}: image {image} cannot be pulled"
        # The back-off's message repeats the image and adds nothing until it names the cause.
        cause = waiting.message.rpartition("ErrImagePull: ")[2]
        if cause and not cause.startswith("Back-off"):
            text = f"{text}: {cause}"
        absent = bool(ABSENT.search(cause)) and not DENIED.search(cause)
        settled = reason != "ErrImagePull"
        return Trouble(TroubleKind.IMAGE_PULL, text, settled=settled, is_final=absent)
    if waiting and reason in CONFIG:
        text = f"container {container.name}: {reason}: {waiting.message}"
        named = MISSING.search(waiting.message) if reason == "CreateContainerConfigError" else None
        lacks = next((name for name in named.groups() if name), "") if named else ""
        final = MAY_NOT_RUN in waiting.message
        return Trouble(
            TroubleKind.CONTAINER_CONFIG, text, settled=True, is_final=final, lacks=lacks
        )
    ended = container.state.terminated or container.last_state.terminated
    if (
        ended
        and container.state.running
        and not container.ready
        and (ended.reason, ended.exit_code) == ENDED_UNSEEN
    ):
        text = f"container {container.name} was restarted because node {node} rebooted"
        return Trouble(TroubleKind.NODE_RESTARTED, text)
    if container.restart_count and not container.ready and (ended or reason == "CrashLoopBackOff"):
        code = f" with code {ended.exit_code} ({ended.reason})" if ended else ""
        cause = _known_cause(ended.message) if ended else ""
        text = f"container {container.name} keeps exiting{code}, image {image}{cause}"
        settled = container.restart_count >= RESTARTS_UNTIL_SETTLED
        return Trouble(TroubleKind.CRASH_LOOP, text, settled=settled)
    return None


def _known_cause(message: str) -> str:
    """Return a known cause only: a container's last words may contain anything, even a secret."""
    if "exec format error" in message:
        return ": exec format error, the image is built for an architecture other than the node's"
    return ""
