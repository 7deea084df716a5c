"""The certificates of the webhook: each has its own CA, whose key is discarded.

Therefore no stored key can sign a certificate, and each rotation replaces certificate and CA
together.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Pair", "authorities", "issue", "read_pair"]

SKEW = timedelta(hours=1)
"""Maximum difference between the clocks of the API server and the operator."""


@dataclass(frozen=True)
class Pair:
    """A certificate with its key and its CA, all PEM, and its properties."""

    authority: str
    certificate: str
    key: str
    expires: datetime
    serial: int
    names: frozenset[str]


def issue(names: Sequence[str], now: datetime, lifetime: timedelta) -> Pair:
    """A new pair for these DNS names and IP addresses, valid until ``now + lifetime``."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    # A unique name: verifiers cannot distinguish two CAs with the same name.
    ca_name = _name(f"immutable-operator webhook {x509.random_serial_number():x}")
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), ca_key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        _builder(
            _name("immutable-operator webhook"), ca_name, key.public_key(), ca_key, now, lifetime
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return _pair(ca, leaf, secret.decode())


def read_pair(authority: str, certificate: str, key: str) -> Pair | None:
    """The pair in three PEM texts; None unless all three are valid and belong together."""
    try:
        ca = x509.load_pem_x509_certificate(authority.encode())
        leaf = x509.load_pem_x509_certificate(certificate.encode())
        leaf.verify_directly_issued_by(ca)
        secret = serialization.load_pem_private_key(key.encode(), None)
        if secret.public_key() != leaf.public_key():
            return None
        return _pair(ca, leaf, key)
    except Exception:  # a Secret can have any content, which fails in many ways
        return None


def authorities(bundle: str, now: datetime) -> frozenset[str]:
    """The CA certificates in a bundle that have not expired; empty if the bundle is not valid."""
    try:
        found = x509.load_pem_x509_certificates(bundle.encode())
    except ValueError:
        return frozenset()
    return frozenset(_pem(ca) for ca in found if ca.not_valid_after_utc > now)


def _pair(ca: x509.Certificate, leaf: x509.Certificate, key: str) -> Pair:
    extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    names = frozenset(str(name.value) for name in extension.value)
    expires = min(ca.not_valid_after_utc, leaf.not_valid_after_utc)
    return Pair(_pem(ca), _pem(leaf), key, expires, leaf.serial_number, names)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
