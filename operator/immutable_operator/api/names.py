"""The names under which the product is visible in a cluster. Changing one breaks every object that
exists.
"""

from typing import Final

GROUP: Final = "immutable.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

SERVICE_KIND: Final = "ImmutableService"
SERVICE_PLURAL: Final = "immutableservices"
REVISION_KIND: Final = "ImmutableRevision"
REVISION_PLURAL: Final = "immutablerevisions"
ACTION_KIND: Final = "ImmutableAction"
ACTION_PLURAL: Final = "immutableactions"
FREEZE_KIND: Final = "ImmutableFreeze"
FREEZE_PLURAL: Final = "immutablefreezes"

RESERVED_PREFIX: Final = f"{GROUP}/"
"""Label and annotation keys with this prefix are written by the operator only."""

LABEL_SERVICE: Final = f"{GROUP}/service"
LABEL_REVISION: Final = f"{GROUP}/revision"

ANNOTATION_SLOT: Final = f"{GROUP}/slot"
ANNOTATION_INCARNATION: Final = f"{GROUP}/incarnation"
ANNOTATION_REPLACES: Final = f"{GROUP}/replaces"
ANNOTATION_REPLACES_UID: Final = f"{GROUP}/replaces-uid"
ANNOTATION_BECAUSE: Final = f"{GROUP}/because"

ANNOTATION_TAINTED: Final = f"{GROUP}/tainted"
"""On an instance that somebody reached into, as JSON: {"what": "exec", "by": "jane", "at":
"2026-11-22T04:30:00Z"}. Written once, never changed, never removed."""

ANNOTATION_HEAL_COUNT: Final = f"{GROUP}/heal-count"
"""How many replacements in a row led to this instance because its predecessors were tainted."""

ANNOTATION_TRIES: Final = f"{GROUP}/try-count"
"""How many births in a row led to this instance because their predecessors ended."""

ANNOTATION_PURPOSE: Final = f"{GROUP}/purpose"
"""What asked for it: request/<uid> of an ImmutableAction, slot/<second> of a schedule."""

ANNOTATION_QUARANTINED: Final = f"{GROUP}/quarantined"
"""On an instance in quarantine, as JSON: {"since": "2026-11-22T04:30:00Z", "because": "Tainted:
…", "labels": {…}}, the labels being those that were taken from it."""

ANNOTATION_SOURCE: Final = f"{GROUP}/source"
"""On a config snapshot: the name of the ConfigMap that it was copied from."""

ANNOTATION_DIGEST: Final = f"{GROUP}/digest"
"""On a config snapshot: the digest of its content, as recorded in its revision."""

QUARANTINED_SUFFIX: Final = "_quarantined"
"""Added to the service's name in LABEL_SERVICE of an instance in quarantine: nothing that selects
instances by it selects that one, and the operator still sees it."""

LABEL_GUARD: Final = f"{GROUP}/guard"
"""On each admission policy, binding and webhook configuration of ours: which one it is."""

BREAK_GLASS_GROUP: Final = "immutable:break-glass"
"""Whoever acts as a member may reach into an instance, which is then tainted and replaced."""

INSTANCE_NAME: Final = "-im[0-9a-f]{8}-[a-z0-9]{5}$"
"""How the names of instances end. Reserved, because admission of exec sees nothing but a name."""

FIELD_MANAGER: Final = "immutable-operator"

POD_NAME_SUFFIX: Final = 17
"""Characters that a pod's name adds to its service's: -im, 8 of the revision, - and 5."""

MAX_SERVICE_NAME: Final = 45
"""Characters of a service name: with POD_NAME_SUFFIX it stays within the 63 of a label value."""
