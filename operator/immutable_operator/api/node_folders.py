"""The folders of a node through which a pod has access to the node itself.

Detection (``reachedInto``) and the admission policy ``node-access`` use the same list.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NODE_FOLDERS", "is_sensitive"]

NODE_FOLDERS: Final = (
    "/etc",
    "/root",
    "/home",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/opt/cni",
    "/proc",
    "/sys",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/containers",
    "/run/containerd",
    "/run/dbus",
    "/run/docker.sock",
    "/var/run",
    "/run/crio",
    "/run/systemd",
)
"""These folders, what is inside them, and the folders that contain them. ``/var/run`` is a link to
``/run``, of which only parts give access."""


def is_sensitive(path: str) -> bool:
    """Whether a hostPath gives access to the node itself.

    Repeated slashes and ``.`` are ignored; the API server refuses ``..`` in a hostPath.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    clean = "/" + "".join(f"{part}/" for part in parts)
    folders = (f"{folder}/" for folder in NODE_FOLDERS)
    return any(clean.startswith(folder) or folder.startswith(clean) for folder in folders)
