"""The grant to pin Secrets in tests: given as administrators give it, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.operator_process import ACCOUNT, CHART, NAMESPACE, Operators

__all__ = ["CHECKS", "GRANT", "checks_granted", "flags_for", "secrets_granted"]

# The Role in each namespace, and the Secret with the key in the operator's own.
GRANT = f"{ACCOUNT}-pinning"
# The Role in each namespace for the Secrets of checks.
CHECKS = f"{ACCOUNT}-checks"


@contextmanager
def checks_granted(operators: Operators, *namespaces: str) -> Iterator[None]:
    """Inside of the block checks can use the Secrets of these namespaces."""
    _upgrade(operators, f"--set=checks.secrets.namespaces={{{','.join(namespaces)}}}")
    try:
        with operators.usually(*(f"--check-secrets-in={name}" for name in namespaces)):
            yield
    finally:
        _upgrade(operators)


def flags_for(*namespaces: str) -> tuple[str, ...]:
    """The flags that the chart gives the operator for this grant, but for the faster polls."""
    return (*(f"--pin-secrets-in={name}" for name in namespaces), "--secret-poll-seconds=0.5")


@contextmanager
def secrets_granted(operators: Operators, *namespaces: str) -> Iterator[None]:
    """Inside of the block every test finds the shared replica with the grant."""
    _upgrade(operators, f"--set=pinning.secrets.namespaces={{{','.join(namespaces)}}}")
    try:
        with operators.usually(*flags_for(*namespaces)):
            yield
    finally:
        _upgrade(operators)


def _upgrade(operators: Operators, *values: str) -> None:
    operators.aim_webhook_as_installed()
    operators.plane.helm(
        *("upgrade", ACCOUNT, str(CHART), "--set=replicas=0"), *values, namespace=NAMESPACE
    )
    operators.aim_webhook()
