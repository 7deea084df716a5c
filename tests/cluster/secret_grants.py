"""The grants of Secrets and Jobs in tests: given as administrators give them, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.operator_process import ACCOUNT, CHART, NAMESPACE, Operators

__all__ = [
    "CHECKS",
    "GRANT",
    "GRANTED",
    "check_flags",
    "checks_granted",
    "flags_for",
    "secrets_granted",
    "upgrade",
]

# The Role in each namespace, and the Secret with the key in the operator's own.
GRANT = f"{ACCOUNT}-pinning"
# The Role in each namespace for the Secrets and the Jobs of checks.
CHECKS = f"{ACCOUNT}-checks"
# Namespaces whose Secrets any test of this run has granted.
GRANTED: set[str] = set()


def flags_for(*namespaces: str) -> tuple[str, ...]:
    """The flags that the chart gives the operator for this grant, but for the faster polls."""
    return (*(f"--pin-secrets-in={name}" for name in namespaces), "--secret-poll-seconds=0.5")


def check_flags(namespace: str) -> tuple[str, ...]:
    """The flags that the chart gives the operator for the grant of checks."""
    return f"--check-secrets-in={namespace}", f"--check-jobs-in={namespace}"


@contextmanager
def secrets_granted(
    operators: Operators, *namespaces: str, checks: tuple[str, ...] = ()
) -> Iterator[None]:
    """Inside of the block every test finds the shared replica with the grant.

    ``checks`` are namespaces in which checks are granted Secrets and Jobs, too.
    """
    GRANTED.update(namespaces, checks)
    granted = f"--set=pinning.secrets.namespaces={{{','.join(namespaces)}}}"
    upgrade(operators, granted, *(_check_values(name) for name in checks))
    flags = [flag for name in checks for flag in check_flags(name)]
    try:
        with operators.usually(*flags_for(*namespaces), *flags):
            yield
    finally:
        upgrade(operators)


@contextmanager
def checks_granted(operators: Operators, namespace: str) -> Iterator[None]:
    """Inside of the block checks can use the Secrets of this namespace and run Jobs there."""
    GRANTED.add(namespace)
    upgrade(operators, _check_values(namespace))
    try:
        with operators.usually(*check_flags(namespace)):
            yield
    finally:
        upgrade(operators)


def _check_values(namespace: str) -> str:
    where = f"namespaces={{{namespace}}}"
    return f"--set=checks.secrets.{where},checks.jobs.{where}"


def upgrade(operators: Operators, *values: str) -> None:
    """Upgrade the release of the chart, with values; without any: as it was installed."""
    operators.aim_webhook_as_installed()
    operators.plane.helm(
        *("upgrade", ACCOUNT, str(CHART), "--set=replicas=0"), *values, namespace=NAMESPACE
    )
    operators.aim_webhook()
