"""Image, chart and signatures in a local registry, by the targets of the release workflow."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.controlplane.real import operator_image
from tests.controlplane.real.base_image import find_base_images
from tests.controlplane.real.buildah import Buildah, pip_mounts
from tests.controlplane.real.confined import Task
from tests.release.registry import LocalRegistry

pytestmark = pytest.mark.timeout(1800)
ROOT = Path(__file__).parents[2]
PASSWORD = "for-this-test"  # noqa: S105


def make(*arguments: str) -> str:
    """Run a target and return what it printed."""
    done = subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=os.environ | {"COSIGN_PASSWORD": PASSWORD},
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cosign(
    program: Path, *arguments: str | Path, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=os.environ | {"COSIGN_PASSWORD": PASSWORD},
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def image(registry: LocalRegistry, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What `make image` printed, with buildah and the base image of the bed."""
    if (reason := operator_image.missing()) is not None:
        pytest.skip(reason)
    if find_base_images() is None:
        operator_image.build()  # and with it the base images
    bases = find_base_images()
    assert bases is not None
    buildah = Buildah(tmp_path_factory.mktemp("buildah"))
    given = {"BASE": buildah.load(bases.base), "BUILDER": buildah.load(bases.builder)}
    with pip_mounts() as mounts:
        flags = [
            *("--network=host", "--pull-never"),
            *(f"--build-arg={key}={value}" for key, value in given.items()),
            *(f"--volume={source}:{target}:ro" for target, source in mounts.items()),
        ]
        arguments = (
            f"REGISTRY={registry.host}/team",
            "IMAGE_TOOL=buildah",
            "IMAGE_HTTP=1",
            f"IMAGE_FLAGS={' '.join(flags)}",
        )
        task = Task("make image", 120)
        return buildah.run_program(task, ["make", "image", *arguments], ROOT)


@pytest.fixture(scope="module")
def digest(image: list[str]) -> str:
    """The digest in the helm command."""
    return image[-1].partition("image.digest=")[2]


@pytest.fixture(scope="module")
def chart(files: Path, registry: LocalRegistry) -> str:
    """The reference to the pushed chart, with its digest."""
    pushed = (f"INTO={files}", f"REGISTRY={registry.host}/charts", "IMAGE_HTTP=1")
    return make("push-chart", *pushed).splitlines()[-1]


@pytest.fixture(scope="module")
def key(signer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new private key; the public one is beside it."""
    folder = tmp_path_factory.mktemp("key")
    done = cosign(signer, "generate-key-pair", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "cosign.key"


@pytest.fixture(scope="module")
def signed(registry: LocalRegistry, digest: str, chart: str, key: Path, files: Path) -> list[str]:
    """The references of the image and of the chart, signed."""
    references = [f"{registry.host}/team/immutable-operator@{digest}", chart]
    make("sign", f"INTO={files}", f"REFERENCES={' '.join(references)}", f"KEY={key}", "OFFLINE=1")
    return references


def test_image_in_the_registry_is_the_one_of_the_helm_command(
    image: list[str], digest: str, registry: LocalRegistry
) -> None:
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert f"  --set image.repository={registry.host}/team/immutable-operator \\" in image
    assert registry.manifest("team/immutable-operator", digest)["layers"]


def test_chart_can_be_pulled_from_the_registry(
    chart: str, files: Path, tools: Mapping[str, Path], tmp_path: Path
) -> None:
    pull = [
        str(tools["helm"]),
        "pull",
        f"oci://{chart}",
        "--plain-http",
        f"--destination={tmp_path}",
    ]
    done = subprocess.run(pull, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    [pulled], [built] = tmp_path.glob("*.tgz"), files.glob("immutable-operator-*.tgz")
    assert pulled.read_bytes() == built.read_bytes()


def test_image_and_chart_are_verified_with_the_key(
    signed: list[str], key: Path, signer: Path
) -> None:
    public = key.with_suffix(".pub")
    for reference in signed:
        check = ("verify", f"--key={public}", "--insecure-ignore-tlog", reference)
        done = cosign(signer, *check)
        assert done.returncode == 0, done.stderr


def test_signature_of_another_key_is_not_accepted(
    signed: list[str], signer: Path, tmp_path: Path
) -> None:
    cosign(signer, "generate-key-pair", folder=tmp_path)
    check = ("verify", f"--key={tmp_path / 'cosign.pub'}", "--insecure-ignore-tlog", signed[0])
    assert cosign(signer, *check).returncode != 0


def test_sbom_of_the_image_is_attested(signed: list[str], key: Path, signer: Path) -> None:
    done = cosign(
        signer,
        *("verify-attestation", f"--key={key.with_suffix('.pub')}", "--type=cyclonedx"),
        *("--insecure-ignore-tlog", signed[0]),
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("signed")
def test_digests_of_the_files_are_signed(files: Path, key: Path, signer: Path) -> None:
    sums = files / "SHA256SUMS"
    bundle = f"--bundle={sums}.sigstore.json"
    public = f"--key={key.with_suffix('.pub')}"
    check = ("verify-blob", public, bundle, "--insecure-ignore-tlog", sums)
    done = cosign(signer, *check)
    assert done.returncode == 0, done.stderr
