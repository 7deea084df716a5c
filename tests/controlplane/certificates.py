"""The certificates of one run: its CA, the server certificate and one for each actor.

Everything is recreated for each run, with elliptic curve keys (a run starts in seconds),
and is stored only in the run directory.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["ACTOR_GROUPS", "ACTOR_USERS", "Certificates"]

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")

# User name of an actor where it is not the actor's own name.
ACTOR_USERS = {
    "kube-controller-manager": "system:kube-controller-manager",
    "kube-scheduler": "system:kube-scheduler",
}
# An actor that is not here is a plain user without a group (alice, bob …).
ACTOR_GROUPS: dict[str, tuple[str, ...]] = {
    "admin": ("system:masters",),
    "kwok": ("system:masters", "system:nodes"),
    "kubelet-client": ("system:masters",),
}
# The kubelet of a real node is the actor ``system:node:<name of the node>``.
NODE_PREFIX = "system:node:"
NODE_GROUPS = ("system:nodes",)


@dataclass(frozen=True)
class Certificates:
    """A folder of PEM files, which are created on first use."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def service_account_key(self) -> Path:
        return self.folder / "service-accounts.key"

    @property
    def service_account_public_key(self) -> Path:
        return self.folder / "service-accounts.pub"

    def create(self) -> None:
        """Create the CA, the server certificate and the key pair of service accounts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self._new_key(self.ca_key)
        name = _name("immutable-test-bed-ca", ())
        builder = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(True, False, True, False, False, True, True, False, False)
        certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._issue("server", _name("kube-apiserver", ()), ExtendedKeyUsageOID.SERVER_AUTH)
        public = self._new_key(self.service_account_key).public_key()
        self.service_account_public_key.write_bytes(
            public.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def server(self) -> tuple[Path, Path]:
        """Certificate and key of all serving components."""
        return self.folder / "server.crt", self.folder / "server.key"

    def actor(self, actor: str) -> tuple[Path, Path]:
        """Client certificate and key of an actor, created on first use."""
        files = self.folder / f"{actor}.crt", self.folder / f"{actor}.key"
        if not files[0].exists():
            groups = NODE_GROUPS if actor.startswith(NODE_PREFIX) else ACTOR_GROUPS.get(actor, ())
            subject = _name(ACTOR_USERS.get(actor, actor), groups)
            self._issue(actor, subject, ExtendedKeyUsageOID.CLIENT_AUTH)
        return files

    def _issue(self, file_name: str, subject: x509.Name, use: x509.ObjectIdentifier) -> None:
        ca = x509.load_pem_x509_certificate(self.ca.read_bytes())
        ca_key = serialization.load_pem_private_key(self.ca_key.read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        key = self._new_key(self.folder / f"{file_name}.key")
        builder = _builder(subject, ca.subject, key).add_extension(
            x509.ExtendedKeyUsage([use]), critical=False
        )
        if use == ExtendedKeyUsageOID.SERVER_AUTH:
            names: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVER_NAMES]
            names += [x509.IPAddress(ipaddress.ip_address(a)) for a in SERVER_ADDRESSES]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(ca_key, hashes.SHA256())
        (self.folder / f"{file_name}.crt").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
        )

    def _new_key(self, path: Path) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        return key


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    """Kubernetes reads the user from CN and the groups from O."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
    )
