"""The names under which the product is visible in a cluster. Changing one breaks all existing
objects.
"""

from typing import Final

GROUP: Final = "immutable.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

SERVICE_KIND: Final = "ImmutableService"
SERVICE_PLURAL: Final = "immutableservices"
POOL_KIND: Final = "ImmutableNodePool"
POOL_PLURAL: Final = "immutablenodepools"
REVISION_KIND: Final = "ImmutableRevision"
REVISION_PLURAL: Final = "immutablerevisions"
ACTION_KIND: Final = "ImmutableAction"
ACTION_PLURAL: Final = "immutableactions"
FREEZE_KIND: Final = "ImmutableFreeze"
FREEZE_PLURAL: Final = "immutablefreezes"
CHECK_KIND: Final = "ImmutableCheck"
CHECK_PLURAL: Final = "immutablechecks"
LINEAGE_KIND: Final = "ImmutableLineage"
LINEAGE_PLURAL: Final = "immutablelineages"

RESERVED_PREFIX: Final = f"{GROUP}/"
"""Only the operator writes labels and annotations with this prefix."""

LABEL_SERVICE: Final = f"{GROUP}/service"
LABEL_POOL: Final = f"{GROUP}/pool"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_CHECK: Final = f"{GROUP}/check"
"""On the Job of a check: the name of the check."""

ANNOTATION_SLOT: Final = f"{GROUP}/slot"
ANNOTATION_INCARNATION: Final = f"{GROUP}/incarnation"
ANNOTATION_REPLACES: Final = f"{GROUP}/replaces"
ANNOTATION_REPLACES_UID: Final = f"{GROUP}/replaces-uid"
ANNOTATION_BECAUSE: Final = f"{GROUP}/because"

ANNOTATION_TAINTED: Final = f"{GROUP}/tainted"
"""On an instance that was modified in place, as JSON: {"what": "exec", "by": "jane", "at":
"2026-11-22T04:30:00Z"}. Written once, never changed, never removed."""

ANNOTATION_HEAL_COUNT: Final = f"{GROUP}/heal-count"
"""Number of consecutive predecessors of this instance that were replaced because of a taint."""

ANNOTATION_TRIES: Final = f"{GROUP}/try-count"
"""Number of consecutive predecessors of this instance that ended by themselves."""

ANNOTATION_PURPOSE: Final = f"{GROUP}/purpose"
"""What requested this instance: request/<uid> of an ImmutableAction, or slot/<second> of a
schedule."""

ANNOTATION_QUARANTINED: Final = f"{GROUP}/quarantined"
"""On an instance in quarantine, as JSON: {"since": "2026-11-22T04:30:00Z", "because": "Tainted:
…", "labels": {…}}. The labels are those that were removed from it."""

ANNOTATION_RETRY: Final = f"{GROUP}/retry"
"""On a service or pool, written by its users: any value that it did not have before asks for
another try of the revision that failed."""

ANNOTATION_MIGRATION: Final = f"{GROUP}/migration"
"""On a Deployment that is moved to a service, and on that service, as JSON: where the migration
is. Written and read by the plug-in only."""

ANNOTATION_SOURCE: Final = f"{GROUP}/source"
"""On a config snapshot: the name of the ConfigMap or Secret of which it is a copy."""

ANNOTATION_DIGEST: Final = f"{GROUP}/digest"
"""On a config snapshot: the digest of its content, as recorded in its revision."""

QUARANTINED_SUFFIX: Final = "_quarantined"
"""Suffix of the service name in LABEL_SERVICE of an instance in quarantine. No selector of
instances matches it any more, and the operator can still find it."""

ANNOTATION_POOL_UID: Final = f"{GROUP}/pool-uid"
"""On a node or its claim: the uid of the pool that created it. There is no owner reference, so that
deleting the pool deletes no node."""

ANNOTATION_PROVIDER: Final = f"{GROUP}/provider"
"""On a node or its claim: the provider that created it, as in spec.provider of its pool."""

ANNOTATION_IMAGE: Final = f"{GROUP}/image"
"""On a claim: the id or digest of the image from which its machine is to start."""

ANNOTATION_VERIFIED: Final = f"{GROUP}/verified"
"""On a node, as JSON: {"at": "2026-11-22T04:30:00Z", "facts": {"bootID": "…", …}}: when it was
verified, and the facts that must not change afterwards."""

ANNOTATION_RETIRING: Final = f"{GROUP}/retiring"
"""On a node, as JSON: {"since": "2026-11-22T04:30:00Z", "because": "Outdated: …"}: its drain has
begun."""

ANNOTATION_SEEN: Final = f"{GROUP}/seen"
"""On a lease that its holder gave back, as JSON: {"pods immutable.dev/service": 4711, …}: the
resource versions up to which a view must be to show all that the former leader wrote."""

FINALIZER_POOL: Final = f"{GROUP}/drain"
"""Finalizer of a node pool whose nodes are drained and deleted before it."""

TAINT_UNVERIFIED: Final = f"{GROUP}/unverified"
"""Taint of a new node that keeps workloads off it until it is verified; effect NoSchedule."""

TAINT_RETIRING: Final = f"{GROUP}/retiring"
"""Taint of a node that is being drained and will be deleted; effect NoSchedule."""

LABEL_GUARD: Final = f"{GROUP}/guard"
"""On each admission policy, binding and webhook configuration of the chart: its name."""

BREAK_GLASS_GROUP: Final = "immutable:break-glass"
"""Members of this group may access an instance, which is then tainted and replaced."""

INSTANCE_NAME: Final = "-im[0-9a-f]{8}-[a-z0-9]{5}$"
"""End of the names of instances. Reserved, because admission of exec receives only the pod name."""

FIELD_MANAGER: Final = "immutable-operator"

POD_NAME_SUFFIX: Final = 17
"""Number of characters that a pod name adds to the service name: -im, 8 hex digits, - and 5."""

MAX_SERVICE_NAME: Final = 45
"""Maximum length of a service name: with POD_NAME_SUFFIX it fits the 63 characters of a label."""
