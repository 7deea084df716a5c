"""Where pods may run: node selectors, node affinity, taints and tolerations, as the scheduler reads
them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["HOSTNAME", "LabelSelector", "Placement", "PodTerm", "Requirement", "Taint"]

HOSTNAME = "kubernetes.io/hostname"


class Requirement(msgspec.Struct, frozen=True):
    """One expression of a selector."""

    key: str = ""
    operator: str = ""
    values: list[str] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        values, value = self.values or [], labels.get(self.key)
        match self.operator:
            case "In":
                return value in values
            case "NotIn":
                return value not in values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._compares(value, values)
            case _:
                return False

    def _compares(self, value: str | None, values: Sequence[str]) -> bool:
        try:
            have, limit = int(value or ""), int(values[0])
        except (ValueError, IndexError):
            return False
        return have > limit if self.operator == "Gt" else have < limit


class LabelSelector(msgspec.Struct, rename="camel", frozen=True):
    """A selector of labels; without any requirement it selects everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Requirement] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        exact = (self.match_labels or {}).items()
        return all(labels.get(key) == value for key, value in exact) and all(
            expression.matches(labels) for expression in self.match_expressions or ()
        )


class Taint(msgspec.Struct, rename="camel", frozen=True, omit_defaults=True):
    """A taint of a node."""

    key: str = ""
    value: str | None = None
    effect: str = ""
    time_added: str | None = None


class _Toleration(msgspec.Struct, frozen=True):
    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (
            bool(self.key) and (self.value or "") == (taint.value or "")
        )


class _Term(msgspec.Struct, rename="camel", frozen=True):
    match_expressions: list[Requirement] | None = None
    match_fields: list[Requirement] | None = None

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """A term without requirements selects no node."""
        expressions, fields = self.match_expressions or (), self.match_fields or ()
        if not expressions and not fields:
            return False
        named = {"metadata.name": name}
        return all(e.matches(labels) for e in expressions) and all(
            field.matches(named) for field in fields
        )


class _Terms(msgspec.Struct, rename="camel", frozen=True):
    node_selector_terms: list[_Term] | None = None


class _NodeAffinity(msgspec.Struct, frozen=True):
    required: _Terms | None = msgspec.field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=None
    )


class PodTerm(msgspec.Struct, rename="camel", frozen=True):
    """Pods that a pod may not share a topology with."""

    label_selector: LabelSelector | None = None
    topology_key: str = ""
    namespaces: list[str] | None = None


class _PodAffinity(msgspec.Struct, frozen=True):
    required: list[PodTerm] | None = msgspec.field(
        name="requiredDuringSchedulingIgnoredDuringExecution", default=None
    )


class _Affinity(msgspec.Struct, rename="camel", frozen=True):
    node_affinity: _NodeAffinity | None = None
    pod_anti_affinity: _PodAffinity | None = None


class Placement(msgspec.Struct, rename="camel", frozen=True):
    """The part of a pod's spec that says where it may run."""

    node_selector: dict[str, str] | None = None
    affinity: _Affinity | None = None
    tolerations: list[_Toleration] | None = None

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether a node's labels admit the pod."""
        if any(labels.get(key) != value for key, value in (self.node_selector or {}).items()):
            return False
        affinity = self.affinity.node_affinity if self.affinity else None
        if affinity is None or affinity.required is None:
            return True
        return any(t.matches(name, labels) for t in affinity.required.node_selector_terms or ())

    def tolerates(self, taints: Sequence[Taint], known: Sequence[str] = ()) -> bool:
        """Return whether the taints of a node admit the pod; taints in ``known`` do not count."""
        binding = (t for t in taints if t.effect != "PreferNoSchedule" and t.key not in known)
        return all(any(one.tolerates(t) for one in self.tolerations or ()) for t in binding)

    @property
    def apart(self) -> tuple[PodTerm, ...]:
        """The required anti-affinity of the pod."""
        found = self.affinity.pod_anti_affinity if self.affinity else None
        return tuple(found.required or ()) if found else ()
