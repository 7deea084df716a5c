"""Hypothesis strategies: any spec that the schema of a kind allows, as its CRD has it.

The rules in CEL are left to the API server. An object gets few of its optional fields, so that
examples are small. What only a sensible value of has a meaning, such as an image, is sensible most
of the time: `SENSIBLE`, by the name of the field.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from immutable_operator.api.crd import crd
from immutable_operator.api.kind import Kind
from tests.unit.service_specs import PIN

__all__ = ["any_spec", "drawn"]

Json = Any
Schema = Mapping[str, Any]
Values = st.SearchStrategy[Json]

MOST_FIELDS, MOST_ITEMS = 4, 2
MOSTLY = 7
USUALLY = [True] * MOSTLY + [False]
INT32, INT64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1)
LETTERS = st.characters(codec="utf-8", exclude_characters="\x00")
NAMES = st.sampled_from(["web", "data", "settings", "proxy", "a-b"])
CRONS = st.sampled_from(
    ["0 3 * * *", "*/5 * * * *", "0 3 31 4-4 *", "0 0 L * ?", "* * * * SUN#5", "61 * * * *", "x"]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Europe/Berlim", "Local", "GMT+1", "US/x"])
COUNTS = st.sampled_from([1, 2, 0, 3, "25%", "100%", "0%"])

SENSIBLE: Mapping[str, Values] = {
    "image": st.just(PIN),
    "reference": st.just(PIN),
    "name": NAMES,
    "schedule": CRONS,
    "timeZone": ZONES,
    "replicas": st.integers(0, 3),
    "maxSurge": COUNTS,
    "maxUnavailable": COUNTS,
    "maxAge": st.sampled_from(["10s", "1h", "14d"]),
    "hardMaxAge": st.sampled_from(["15s", "2h", "90d"]),
    "restartPolicy": st.just("Always"),
    "id": st.just("image-1"),
    "digest": st.just(f"sha256:{'a' * 64}"),
}
# Fields that an object has, although it could leave them out: little happens without them.
USUAL = frozenset(("containers", "template", "spec", "image"))
# Exactly one of these is set, most of the time: with none or both, the object is refused.
RIVALS = (("simulated", "karpenter"), ("id", "digest"), ("service", "pool"))


def any_spec(kind: Kind) -> Values:
    """Any value of the field ``spec`` of a kind, defaults included or not."""
    schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return _values(schema["properties"]["spec"])


def drawn(values: st.SearchStrategy[Json], count: int, number: int) -> list[Json]:
    """So many values, the same ones for the same ``number``."""
    found: list[Json] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(values)
    def collect(value: Json) -> None:
        found.append(value)

    collect()
    return found


def _values(schema: Schema, field: str = "") -> Values:
    """Any value of a node of a structural schema; ``field`` is the name under which it stands."""
    found = _typed(schema)
    if field in SENSIBLE and "properties" not in schema:
        found = st.one_of(*[SENSIBLE[field]] * MOSTLY, found)
    return st.one_of(*[found] * MOSTLY, st.none()) if schema.get("nullable") else found


def _typed(schema: Schema) -> Values:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.one_of(_whole(schema), _text(schema))
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            return _list(schema)
        case "string":
            return _text(schema)
        case "integer":
            return _whole(schema)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case _:
            return _untyped(schema)


def _object(schema: Schema) -> Values:
    if "additionalProperties" in schema:
        most = min(MOST_ITEMS, schema.get("maxProperties", MOST_ITEMS))
        keys = st.one_of(NAMES, st.sampled_from(["cpu", "memory", "immutable.dev/a"]), _text({}))
        return st.dictionaries(keys, _values(schema["additionalProperties"]), max_size=most)
    return _fields(_Fields(schema)) if schema.get("properties") else st.just({})


class _Fields:
    """The fields of an object; their strategies are made when they are drawn, and then kept."""

    def __init__(self, schema: Schema) -> None:
        self._fields: Mapping[str, Schema] = schema["properties"]
        self._made: dict[str, Values] = {}
        required = {*schema.get("required", ()), *USUAL}
        self.needed = [name for name in self._fields if name in required]
        self.others = [name for name in self._fields if name not in required]

    def values(self, name: str) -> Values:
        if name not in self._made:
            self._made[name] = _values(self._fields[name], name)
        return self._made[name]


@st.composite
def _fields(draw: st.DrawFn, fields: _Fields) -> Json:
    some = st.lists(st.sampled_from(fields.others), max_size=MOST_FIELDS, unique=True)
    names = {*fields.needed, *(draw(some) if fields.others else ())}
    for rivals in RIVALS:
        if {*rivals} <= {*fields.others} and draw(st.sampled_from(USUALLY)):
            names = names - {*rivals} | {draw(st.sampled_from(rivals))}
    return {name: draw(fields.values(name)) for name in sorted(names)}


def _list(schema: Schema) -> Values:
    least = schema.get("minItems", 0)
    most = max(least, min(MOST_ITEMS, schema.get("maxItems", MOST_ITEMS)))
    keys = schema.get("x-kubernetes-list-map-keys", ())
    unique = None
    if schema.get("x-kubernetes-list-type") == "set":
        unique = repr
    elif keys:
        unique = functools.partial(_key, keys)
    return st.lists(_values(schema["items"]), min_size=least, max_size=most, unique_by=unique)


def _key(keys: list[str], item: Json) -> str:
    return repr([item.get(key) for key in keys])


def _text(schema: Schema) -> Values:
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    if "pattern" in schema:
        pattern: str = schema["pattern"]
        found: Values = st.from_regex(pattern).filter(lambda text: "\n" not in text)
        return found if most is None else found.filter(lambda text: len(text) <= most)
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda at: f"{at.isoformat()}Z")
    return st.text(LETTERS, min_size=least, max_size=min(most or 12, 12))


def _whole(schema: Schema) -> Values:
    low, high = INT32 if schema.get("format") == "int32" else INT64
    low, high = max(low, schema.get("minimum", low)), min(high, schema.get("maximum", high))
    return st.one_of(st.integers(low, min(high, low + 5)), st.integers(low, high))


def _untyped(schema: Schema) -> Values:
    """What any type is allowed for, within the limits of each: quantities."""
    refused = schema.get("not", {}).get("enum", [])
    text = {key: schema[key] for key in ("pattern", "maxLength") if key in schema}
    numbers = st.one_of(st.integers(*INT64), st.floats(allow_nan=False, allow_infinity=False))
    simple = st.one_of(st.sampled_from(["1", "500m", "64Mi"]), _text(text), numbers)
    least, most = (schema.get(f"{word}Items", none) for word, none in (("min", 0), ("max", 1)))
    lists = st.lists(numbers, min_size=least, max_size=most) if least <= most else st.nothing()
    least, most = (schema.get(f"{word}Properties", n) for word, n in (("min", 0), ("max", 1)))
    maps = st.dictionaries(NAMES, numbers, min_size=least, max_size=most)
    others = st.one_of(st.booleans(), lists, maps if least <= most else st.nothing())
    allowed = others.filter(lambda value: not _is_in(value, refused))
    return st.one_of(simple, simple, simple, allowed)


def _is_in(value: Json, listed: list[Json]) -> bool:
    """Whether a list has a value, and not only one that Python calls equal: 1 is not true."""
    return any(type(value) is type(item) and value == item for item in listed)
