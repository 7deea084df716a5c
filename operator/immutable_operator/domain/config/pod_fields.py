"""The fields of a pod template, and how the API server treats each (v3 and v4 of the hash).

Taken from Kubernetes 1.36: k8s.io/api/core/v1/types.go (plain value or pointer) and
pkg/apis/core/v1/defaults.go. A field that is not listed is a pointer without a default, or newer
than this table: it counts as written. These tables are part of the hash: **a change here replaces
every pod whose template it concerns, unless it goes into a new version**.
"""

from __future__ import annotations

from immutable_operator.domain.config.fields import (
    Field,
    Fields,
    divisor,
    hollow,
    items,
    member,
    pointer,
    quantities,
    quantity,
    texts,
    value,
    values,
)

__all__ = ["CONTAINER", "METADATA", "POD", "VOLUME"]

METADATA: Fields = {"labels": texts, "annotations": texts}

# Selectors: an empty selector selects everything, an absent one selects nothing.
_SELECTOR = member(
    {"matchLabels": texts, "matchExpressions": items(values("key operator") | {"values": texts})}
)
_TERM: Fields = dict.fromkeys(
    ("matchExpressions", "matchFields"), items(values("key operator") | {"values": texts})
)
_POD_TERM: Fields = values("topologyKey") | {
    "labelSelector": _SELECTOR,
    "namespaceSelector": _SELECTOR,
    "namespaces": texts,
    "matchLabelKeys": texts,
    "mismatchLabelKeys": texts,
}
_POD_AFFINITY = hollow(
    {
        "requiredDuringSchedulingIgnoredDuringExecution": items(_POD_TERM),
        "preferredDuringSchedulingIgnoredDuringExecution": items(
            values("weight") | {"podAffinityTerm": hollow(_POD_TERM)}
        ),
    }
)
_NODE_AFFINITY = hollow(
    {
        "requiredDuringSchedulingIgnoredDuringExecution": member(
            {"nodeSelectorTerms": items(_TERM)}
        ),
        "preferredDuringSchedulingIgnoredDuringExecution": items(
            values("weight") | {"preference": hollow(_TERM)}
        ),
    }
)
_AFFINITY: Fields = {
    "nodeAffinity": _NODE_AFFINITY,
    "podAffinity": _POD_AFFINITY,
    "podAntiAffinity": _POD_AFFINITY,
}

# Fields of containers.
_FIELD_REF = member(values("fieldPath") | {"apiVersion": value("v1")})
_RESOURCE_REF = member(values("containerName resource") | {"divisor": divisor})
_KEY_REF = member(values("name key"))
_ENV: Fields = values("name value") | {
    "valueFrom": member(
        {
            "fieldRef": _FIELD_REF,
            "resourceFieldRef": _RESOURCE_REF,
            "configMapKeyRef": _KEY_REF,
            "secretKeyRef": _KEY_REF,
            "fileKeyRef": member(values("volumeName path key") | {"optional": pointer(False)}),
        }
    )
}
_ENV_FROM: Fields = values("prefix") | {
    "configMapRef": member(values("name")),
    "secretRef": member(values("name")),
}
_HANDLERS: Fields = {
    "exec": member({"command": texts}),
    "httpGet": member(
        values("host")
        | {
            "path": value("/"),
            "scheme": value("HTTP"),
            "httpHeaders": items(values("name value")),
        }
    ),
    "tcpSocket": member(values("host")),
}
_PROBE = member(
    _HANDLERS
    | values("initialDelaySeconds")
    | {
        "grpc": member(values("port") | {"service": pointer("")}),
        "timeoutSeconds": value(1),
        "periodSeconds": value(10),
        "successThreshold": value(1),
        "failureThreshold": value(3),
    }
)
_HOOK = member(_HANDLERS | {"sleep": member(values("seconds"))})
_SE_LINUX = member(values("user role type level"))
_PROFILE = member(values("type"))
_SECURITY: Fields = {
    "seLinuxOptions": _SE_LINUX,
    "windowsOptions": member({}),
    "seccompProfile": _PROFILE,
    "appArmorProfile": _PROFILE,
}
_RESOURCES = hollow(
    {"limits": quantities, "requests": quantities, "claims": items(values("name request"))}
)

CONTAINER: Fields = values("name image workingDir stdin stdinOnce tty imagePullPolicy") | {
    "command": texts,
    "args": texts,
    "ports": items(values("name hostPort containerPort hostIP") | {"protocol": value("TCP")}),
    "envFrom": items(_ENV_FROM),
    "env": items(_ENV),
    "resources": _RESOURCES,
    "resizePolicy": items(values("resourceName restartPolicy")),
    "restartPolicyRules": items(
        values("action") | {"exitCodes": member(values("operator") | {"values": texts})}
    ),
    "volumeMounts": items(values("name readOnly mountPath subPath subPathExpr")),
    "volumeDevices": items(values("name devicePath")),
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "lifecycle": hollow({"postStart": _HOOK, "preStop": _HOOK}),
    "terminationMessagePath": value("/dev/termination-log"),
    "terminationMessagePolicy": value("File"),
    "securityContext": hollow(_SECURITY | {"capabilities": hollow({"add": texts, "drop": texts})}),
}

# Fields of volumes.
_TO_PATHS = items(values("key path"))
_DOWNWARD = items(values("path") | {"fieldRef": _FIELD_REF, "resourceFieldRef": _RESOURCE_REF})
_MODE: Field = pointer(0o644)
_SECRET_REF = member(values("name"))
_PROJECTED: Fields = {
    "secret": member(values("name") | {"items": _TO_PATHS}),
    "configMap": member(values("name") | {"items": _TO_PATHS}),
    "downwardAPI": member({"items": _DOWNWARD}),
    "serviceAccountToken": member(values("audience path") | {"expirationSeconds": pointer(3600)}),
    "clusterTrustBundle": member(values("path") | {"labelSelector": _SELECTOR}),
    "podCertificate": member(
        values("signerName keyType credentialBundlePath keyPath certificateChainPath")
        | {"userAnnotations": texts}
    ),
}
_CLAIM: Fields = values("volumeName") | {
    "accessModes": texts,
    "selector": _SELECTOR,
    "resources": hollow({"limits": quantities, "requests": quantities}),
    "volumeMode": pointer("Filesystem"),
    "dataSource": member(values("kind name")),
    "dataSourceRef": member(values("kind name")),
}
_CLAIM_TEMPLATE: Fields = {"metadata": hollow(METADATA), "spec": hollow(_CLAIM)}

VOLUME: Fields = values("name") | {
    "hostPath": member(values("path") | {"type": pointer("")}),
    "emptyDir": member(values("medium") | {"sizeLimit": quantity}),
    "secret": member(values("secretName") | {"items": _TO_PATHS, "defaultMode": _MODE}),
    "configMap": member(values("name") | {"items": _TO_PATHS, "defaultMode": _MODE}),
    "downwardAPI": member({"items": _DOWNWARD, "defaultMode": _MODE}),
    "projected": member({"sources": items(_PROJECTED), "defaultMode": _MODE}),
    "persistentVolumeClaim": member(values("claimName readOnly")),
    "ephemeral": member({"volumeClaimTemplate": member(_CLAIM_TEMPLATE)}),
    "csi": member(
        values("driver") | {"volumeAttributes": texts, "nodePublishSecretRef": _SECRET_REF}
    ),
    "image": member(values("reference pullPolicy")),
    "nfs": member(values("server path readOnly")),
    "iscsi": member(
        values("targetPortal iqn lun fsType readOnly chapAuthDiscovery chapAuthSession")
        | {"iscsiInterface": value("default"), "portals": texts, "secretRef": _SECRET_REF}
    ),
    "fc": member(values("fsType readOnly") | {"targetWWNs": texts, "wwids": texts}),
    "rbd": member(
        values("image fsType readOnly")
        | {
            "monitors": texts,
            "pool": value("rbd"),
            "user": value("admin"),
            "keyring": value("/etc/ceph/keyring"),
            "secretRef": _SECRET_REF,
        }
    ),
    "cephfs": member(
        values("path user secretFile readOnly") | {"monitors": texts, "secretRef": _SECRET_REF}
    ),
    "cinder": member(values("volumeID fsType readOnly") | {"secretRef": _SECRET_REF}),
    "flexVolume": member(
        values("driver fsType readOnly") | {"options": texts, "secretRef": _SECRET_REF}
    ),
    "scaleIO": member(
        values("gateway system sslEnabled protectionDomain storagePool volumeName readOnly")
        | {
            "storageMode": value("ThinProvisioned"),
            "fsType": value("xfs"),
            "secretRef": _SECRET_REF,
        }
    ),
    "storageos": member(
        values("volumeName volumeNamespace fsType readOnly") | {"secretRef": _SECRET_REF}
    ),
    "azureDisk": member(
        values("diskName diskURI")
        | {
            "cachingMode": pointer("ReadWrite"),
            "fsType": pointer("ext4"),
            "readOnly": pointer(False),
            "kind": pointer("Shared"),
        }
    ),
    "azureFile": member(values("secretName shareName readOnly")),
    "awsElasticBlockStore": member(values("volumeID fsType partition readOnly")),
    "gcePersistentDisk": member(values("pdName fsType partition readOnly")),
    "gitRepo": member(values("repository revision directory")),
    "glusterfs": member(values("endpoints path readOnly")),
    "flocker": member(values("datasetName datasetUUID")),
    "photonPersistentDisk": member(values("pdID fsType")),
    "portworxVolume": member(values("volumeID fsType readOnly")),
    "quobyte": member(values("registry volume readOnly user group tenant")),
    "vsphereVolume": member(values("volumePath fsType storagePolicyName storagePolicyID")),
}

# Fields of the pod itself; canonical.py adds its containers and volumes.
POD: Fields = values(
    "serviceAccountName serviceAccount nodeName hostNetwork hostPID hostIPC hostname subdomain"
    " priorityClassName"
) | {
    "restartPolicy": value("Always"),
    "dnsPolicy": value("ClusterFirst"),
    "schedulerName": value("default-scheduler"),
    "terminationGracePeriodSeconds": pointer(30),
    "enableServiceLinks": pointer(True),
    "nodeSelector": texts,
    "securityContext": hollow(
        _SECURITY | {"supplementalGroups": texts, "sysctls": items(values("name value"))}
    ),
    "imagePullSecrets": items(values("name")),
    "affinity": hollow(_AFFINITY),
    "tolerations": items(values("key operator value effect")),
    "hostAliases": items(values("ip") | {"hostnames": texts}),
    "dnsConfig": hollow(
        {"nameservers": texts, "searches": texts, "options": items(values("name"))}
    ),
    "readinessGates": items(values("conditionType")),
    "overhead": quantities,
    "topologySpreadConstraints": items(
        values("maxSkew topologyKey whenUnsatisfiable")
        | {"labelSelector": _SELECTOR, "matchLabelKeys": texts}
    ),
    "os": member(values("name")),
    "schedulingGates": items(values("name")),
    "resourceClaims": items(values("name")),
    "resources": _RESOURCES,
    "schedulingGroup": member({}),
}
