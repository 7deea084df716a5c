"""``python -m release COMMAND``: the steps of a release (docs/release.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from release import artefacts
from release.plugin import PLATFORMS
from release.publish import Signer, push_chart
from release.tree import ReleaseError, check_version

# Of a build that is not published.
ADDRESS = "https://example.com/immutable-operator/releases/download/v{version}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one step. Exits with 1 and a sentence if it fails."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except ReleaseError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def step(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    command = step("version", "check that all files agree on the version, and print it")
    command.add_argument("--tag", default="", help="tag of the release, such as v0.1.0")
    command.set_defaults(run=lambda given: print(check_version(given.tag)))

    command = step("build", "build the files of the release into a new folder")
    command.add_argument("--into", type=Path, required=True, help="folder of the files")
    command.add_argument("--helm", default="helm", help="the program helm")
    command.add_argument("--tag", default="", help="tag of the release, such as v0.1.0")
    command.add_argument("--address", default="", help="URL below which the files will be")
    command.add_argument(
        "--platform",
        action="append",
        choices=[f"{os}/{arch}" for os, arch in PLATFORMS],
        help="build the plug-in only for this platform; may be repeated [all]",
    )
    command.set_defaults(run=_build)

    command = step("compare", "compare two builds byte by byte")
    command.add_argument("first", type=Path)
    command.add_argument("second", type=Path)
    command.set_defaults(run=_compare)

    command = step("push-chart", "push the chart to a registry, and print oci reference@digest")
    command.add_argument("folder", type=Path, help="folder of the files")
    command.add_argument("--registry", required=True, help="such as registry.example/team/charts")
    command.add_argument("--helm", default="helm", help="the program helm")
    command.add_argument("--plain-http", action="store_true", help="push without TLS")
    command.set_defaults(run=_push_chart)

    command = step("sign", "sign images by digest, attest the SBOM of the first, sign SHA256SUMS")
    command.add_argument("folder", type=Path, help="folder of the files")
    command.add_argument("references", nargs="+", help="<image>@sha256:<digest>, then the chart")
    command.add_argument("--cosign", default="cosign", help="the program cosign")
    command.add_argument("--key", default="", help="key [the identity of the workflow]")
    command.add_argument("--offline", action="store_true", help="without a transparency log")
    command.set_defaults(run=_sign)
    return parser


def _build(given: argparse.Namespace) -> None:
    address = given.address or ADDRESS.format(version=check_version(given.tag))
    wanted = given.platform or [f"{os}/{arch}" for os, arch in PLATFORMS]
    platforms = [(os, arch) for os, arch in PLATFORMS if f"{os}/{arch}" in wanted]
    artefacts.build(given.into, platforms, helm=given.helm, address=address, tag=given.tag)
    print((given.into / artefacts.SUMS).read_text(encoding="utf-8"), end="")


def _compare(given: argparse.Namespace) -> None:
    if different := artefacts.compare(given.first, given.second):
        raise ReleaseError(
            f"two builds of the same tree differ in {', '.join(different)}; a release must be"
            " reproducible: find what depends on the time, the path or the machine"
        )
    print(f"{given.first} and {given.second} are equal")


def _push_chart(given: argparse.Namespace) -> None:
    chart = artefacts.chart_file(given.folder)
    registry = given.registry.rstrip("/")
    digest = push_chart(given.helm, chart, registry, plain_http=given.plain_http)
    print(f"{registry}/immutable-operator@{digest}")


def _sign(given: argparse.Namespace) -> None:
    if given.offline and not given.key:
        raise ReleaseError(
            "--offline needs a key: the identity of a workflow is proven by the transparency log"
        )
    signer = Signer(given.cosign, given.key, given.offline)
    for reference in given.references:
        signer.sign(reference)
        print(f"signed {reference}")
    signer.attest(given.references[0], given.folder / "sbom.cdx.json")
    print(f"attested sbom.cdx.json of {given.references[0]}")
    print(f"signed {signer.sign_file(given.folder / artefacts.SUMS)}")


if __name__ == "__main__":
    main()
