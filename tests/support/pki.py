"""Certificates of every kind, right and wrong, made when a test asks for them."""

from __future__ import annotations

import datetime
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

SERVER = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
CODE = ExtendedKeyUsageOID.CODE_SIGNING
OCSP = ExtendedKeyUsageOID.OCSP_SIGNING

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)


def hours(count: float) -> datetime.datetime:
    return now() + datetime.timedelta(hours=count)


def subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def general_name(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "DNS":
        return x509.DNSName(value)
    if kind == "IP":
        return x509.IPAddress(ipaddress.ip_address(value))
    if kind == "URI":
        return x509.UniformResourceIdentifier(value)
    if kind == "EMAIL":
        return x509.RFC822Name(value)
    raise ValueError(text)


@dataclass
class Wish:
    """What a leaf shall be; the defaults are right for either role."""

    common_name: str = "peer"
    names: tuple[str, ...] = ("DNS:localhost", "IP:127.0.0.1", "IP:127.0.0.2", "IP:::1")
    usages: tuple[x509.ObjectIdentifier, ...] | None = (SERVER, CLIENT)  # None: no extension at all
    starts: float = -1.0  # hours from now
    ends: float = 24.0
    rsa_bits: int = 0  # 0: ECDSA P-256
    responder: str = ""  # where its status can be asked
    must_staple: bool = False  # RFC 7633


@dataclass
class Leaf:
    """A certificate with its key and the chain that goes with it; `write` gives the two paths a program wants."""

    certificate: x509.Certificate
    key: Key
    chain: list[x509.Certificate] = field(default_factory=list)

    def write(self, folder: Path, stem: str) -> tuple[str, str]:
        return write_both(folder, stem, [self.certificate, *self.chain], self.key)

    def spki_sha256(self) -> str:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
        return digest.finalize().hex()


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_key(path: Path, key: Key) -> str:
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    return str(path)


def write_both(folder: Path, stem: str, chain: list[x509.Certificate], key: object) -> tuple[str, str]:
    """The leaf first; the paths of chain and key."""
    path = folder / f"{stem}.pem"
    path.write_bytes(b"".join(pem(each) for each in chain))
    return str(path), write_key(folder / f"{stem}.key", key)


class Authority:
    """A certificate authority; `parent` makes it an intermediate one."""

    def __init__(self, name: str, parent: Authority | None = None, responder: str = "") -> None:
        self.parent = parent
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        issuer = parent or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject(name)).issuer_name(subject(issuer.name))
            .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(hours(-2)).not_valid_after(hours(48))
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(key_usage(signs_certificates=True), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False))
        if responder:
            builder = builder.add_extension(answered_at(responder), False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    def write(self, path: Path) -> str:
        path.write_bytes(pem(self.certificate))
        return str(path)

    def issue(self, wish: Wish | None = None, **changes: object) -> Leaf:
        """A leaf as wished; `changes` are fields of Wish."""
        wanted = wish or Wish()
        for name, value in changes.items():
            assert hasattr(wanted, name), name
            setattr(wanted, name, value)
        key = new_key(wanted)
        chain = [self.certificate] if self.parent else []
        return Leaf(sign(wanted, key, self), key, chain)

    def crl(self, *revoked: x509.Certificate, ends: float = 24) -> bytes:
        """`ends` is in hours from now."""
        signer = ListSigner(subject(self.name), self.key, hashes.SHA256())
        return signer.sign(revoked, min(-1, ends - 1), ends)


@dataclass
class ListSigner:
    name: x509.Name
    key: object
    digest: hashes.HashAlgorithm

    def sign(self, revoked: tuple[x509.Certificate, ...], starts: float, ends: float) -> bytes:
        """A revocation list, PEM; times in hours from now."""
        builder = (x509.CertificateRevocationListBuilder().issuer_name(self.name)
                   .last_update(hours(starts)).next_update(hours(ends))
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
                   .add_extension(x509.CRLNumber(1), False))
        for certificate in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
                .revocation_date(hours(-1)).build())
        return builder.sign(self.key, self.digest).public_bytes(serialization.Encoding.PEM)


def new_key(wish: Wish) -> Key:
    if wish.rsa_bits:
        return rsa.generate_private_key(65537, wish.rsa_bits)
    return ec.generate_private_key(ec.SECP256R1())


def sign(wish: Wish, key: Key, issuer: Authority) -> x509.Certificate:
    builder = leaf_builder(wish, key).issuer_name(subject(issuer.name)).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False)
    return builder.sign(issuer.key, hashes.SHA256())


def self_signed(wish: Wish | None = None) -> Leaf:
    wanted = wish or Wish()
    key = new_key(wanted)
    builder = leaf_builder(wanted, key).issuer_name(subject(wanted.common_name))
    return Leaf(builder.sign(key, hashes.SHA256()), key)


def leaf_builder(wish: Wish, key: Key) -> x509.CertificateBuilder:
    builder = (x509.CertificateBuilder().subject_name(subject(wish.common_name))
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(hours(wish.starts)).not_valid_after(hours(wish.ends))
               .add_extension(x509.BasicConstraints(False, None), True)
               .add_extension(key_usage(signs_certificates=False), True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
    if wish.names:
        names = x509.SubjectAlternativeName([general_name(name) for name in wish.names])
        builder = builder.add_extension(names, False)
    if wish.responder:
        builder = builder.add_extension(answered_at(wish.responder), False)
    if wish.must_staple:
        builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), False)
    if wish.usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wish.usages), False)
    return builder


def answered_at(url: str) -> x509.AuthorityInformationAccess:
    return x509.AuthorityInformationAccess([x509.AccessDescription(
        AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))])


def key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
                         data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates,
                         crl_sign=signs_certificates, encipher_only=False, decipher_only=False)


class TrialPki:
    """One authority, a server and a client, on disk: what most tests need."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority("ntpgate test CA")
        self.ca = self.authority.write(folder / "ca.pem")
        self.server_leaf = self.authority.issue(common_name="server", usages=(SERVER,))
        self.client_leaf = self.authority.issue(common_name="client", names=("DNS:client.test",), usages=(CLIENT,))
        self.server_certificate, self.server_key = self.server_leaf.write(folder, "server")
        self.client_certificate, self.client_key = self.client_leaf.write(folder, "client")

    def server(self) -> dict[str, object]:
        """The `tls:` block of a server role."""
        return {"ca": self.ca, "certificate": self.server_certificate, "key": self.server_key,
                "allow": ["DNS:client.test"]}

    def client(self) -> dict[str, object]:
        """The `tls:` block of a client role."""
        return {"ca": self.ca, "certificate": self.client_certificate, "key": self.client_key,
                "server-name": "localhost"}
