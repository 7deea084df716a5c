"""`make image`: builds the operator's image, pushes it, prints the helm command with its digest.

It needs docker, podman or buildah, and only the standard library of Python.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from release.tree import EPOCH, ROOT, ReleaseError, revision, version

__all__ = ["build_and_push", "find_tool", "helm_command", "main"]

TOOLS = ("docker", "podman", "buildah")
NAME = "immutable-operator"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def find_tool(wanted: str = "") -> str:
    """Return the first of `TOOLS` that works here, or the wanted one. Raises `ReleaseError`."""
    troubles = []
    for tool in (wanted,) if wanted else TOOLS:
        if shutil.which(tool) is None:
            troubles.append(f"{tool} is not on the PATH")
        elif trouble := _trouble(tool):
            troubles.append(trouble)
        else:
            return tool
    raise ReleaseError(
        f"no program builds images here: {'; '.join(troubles)}; install one of"
        f" {', '.join(TOOLS)} (Debian, Ubuntu: apt install buildah) or start the Docker daemon"
    )


def _trouble(tool: str) -> str:
    """Why a program that is installed does not work; "" if it does."""
    asked = ["docker", "info"] if tool == "docker" else [tool, "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return f"{shlex.join(asked)} failed: {lines[-1] if lines else done.returncode}"


def build_and_push(
    tool: str, registry: str, tag: str, flags: Sequence[str] = (), *, plain_http: bool = False
) -> str:
    """Build the image of the work tree and push it; return its digest, ``sha256:…``.

    ``flags`` are added to the command that builds. Raises `ReleaseError`.
    """
    reference = f"{registry}/{NAME}:{tag}"
    arguments = {"VERSION": version(), "REVISION": revision()}
    # The times of the files are part of the digest; docker takes them from this variable.
    times = () if tool == "docker" else ("--timestamp", str(EPOCH))
    given = (f"--build-arg={key}={value}" for key, value in arguments.items())
    _run(tool, "build", *times, "--tag", reference, *given, *flags, str(ROOT))
    if tool == "docker":
        told = _run(tool, "push", reference)
        found = DIGEST.findall(told)
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            http = ("--tls-verify=false",) if plain_http else ()
            to = (f"docker://{reference}",) if tool == "buildah" else ()
            _run(tool, "push", *http, "--digestfile", str(file), reference, *to)
            found = DIGEST.findall(file.read_text(encoding="utf-8"))
    if not found:
        raise ReleaseError(f"{tool} push printed no digest; push {reference} by hand and read it")
    return str(found[-1])


def _run(*command: str) -> str:
    """Run a program, show its output, and return what it printed. Raises `ReleaseError`."""
    print(f"+ {shlex.join(command)}", flush=True)
    told = []
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)}
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            told.append(line)
            print(line, end="", flush=True)
    if process.returncode:
        raise ReleaseError(f"{' '.join(command[:2])} failed ({process.returncode}); see above")
    return "".join(told)


def helm_command(registry: str, digest: str) -> str:
    """The command that installs the operator with this image."""
    return (
        f"helm upgrade --install {NAME} charts/{NAME} \\\n"
        "  --namespace immutable-system --create-namespace \\\n"
        f"  --set image.repository={registry}/{NAME} \\\n"
        f"  --set image.digest={digest}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Build, push and print. Exits with 1 and a sentence if that is not possible."""
    parser = argparse.ArgumentParser(prog="python -m release.image", description=__doc__)
    add = parser.add_argument
    add("--registry", default="", help="where the image goes, such as registry.example/team")
    add("--tag", default="", help="tag of the image [the version]")
    add("--tool", default="", choices=("", *TOOLS), help="program that builds [the first there]")
    add("--flags", default="", help="further flags of the command that builds, in one word")
    add("--plain-http", action="store_true", help="push without TLS (podman and buildah)")
    given = parser.parse_args(arguments)
    try:
        if not given.registry:
            raise ReleaseError(
                "no registry is given, and the cluster pulls the image from one; give one that"
                " you may push to: make image REGISTRY=registry.example/team"
            )
        registry, tool = given.registry.rstrip("/"), find_tool(given.tool)
        flags = shlex.split(given.flags)
        digest = build_and_push(
            tool, registry, given.tag or version(), flags, plain_http=given.plain_http
        )
    except ReleaseError as error:
        sys.exit(f"error: {error}")
    print("\nThe image is in the registry. To install the operator with it:\n")
    print(helm_command(registry, digest))


if __name__ == "__main__":
    main()
