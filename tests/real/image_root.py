"""Running programs in an image's own files, as a kubelet would: no root, nothing writable.

For what needs no node: it starts in a blink, and shares this machine's network.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.real.confined import PREFIX
from tests.controlplane.real.oci import Layout

__all__ = ["ImageRoot"]

MOUNT = """
root=$1 user=$2 secret=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
if [ -n "$secret" ]; then install -m 444 "$secret" "$root/tmp/kubeconfig"; fi
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" /usr/bin/env -i "$@"
"""


@dataclass(frozen=True)
class ImageRoot:
    """The files of an image, unpacked, and its configuration."""

    folder: Path
    image: Layout

    @classmethod
    def unpack(cls, image: Layout, folder: Path) -> ImageRoot:
        for layer in image.layers:
            subprocess.run(["tar", "-x", "-p", "-C", str(folder), "-f", str(layer)], check=True)
        folder.chmod(0o755)
        return cls(folder, image)

    def command(self, *command: str, kubeconfig: Path | None = None) -> list[str]:
        """The command line, run by root on this machine, of a command in the image.

        Beside the image's files there is only /tmp, with ``kubeconfig`` in it where given.
        """
        config = self.image.configuration["config"]
        given = (str(self.folder), config["User"], str(kubeconfig or ""))
        return [*PREFIX, "sh", "-ec", MOUNT, "sh", *given, *config["Env"], *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the image to its end."""
        return subprocess.run(self.command(*command), capture_output=True, text=True, timeout=60)
