"""Certificates of every key kind and with every flaw an evaluation asks for, where support.pki makes ordinary ones."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from support.pki import CLIENT, SERVER, ListSigner, general_name, hours, write_both

HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
LOCAL = ("DNS:localhost", "IP:127.0.0.1")
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")


@functools.lru_cache(maxsize=None)
def rsa_key(bits: int, number: int) -> rsa.RSAPrivateKey:
    """Kept, since making one takes long; `number` makes them differ."""
    return rsa.generate_private_key(65537, bits)


def key_of(kind: str, number: int = 0) -> object:
    """"p256", "p384", "p521", "ed25519", or "rsa" with its bits."""
    if kind.startswith("rsa"):
        return rsa_key(int(kind[3:]), number)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}[kind]())


@dataclass(frozen=True)
class Want:
    """What a certificate shall be; None leaves an extension out."""

    cn: str = "peer"
    kind: str = "p384"
    digest: str = "sha384"
    names: tuple[str, ...] | None = LOCAL
    usages: tuple[ObjectIdentifier, ...] | None = (SERVER, CLIENT)
    basic: tuple[bool, int | None] | None = (False, None)
    signs_certificates: bool | None = None  # keyUsage; None: as basic says
    signs_lists: bool = True  # of an authority
    key_usage: bool = True
    starts: float = -1.0  # hours from now
    ends: float = 24.0
    strange: bool = False  # an unknown critical extension
    empty_subject: bool = False


@dataclass
class Node:
    """A certificate, its key, and the certificates between it and its anchor."""

    certificate: x509.Certificate
    key: object
    chain: list[x509.Certificate] = field(default_factory=list)

    def write(self, folder: Path, stem: str) -> tuple[str, str]:
        return write_both(folder, stem, [self.certificate, *self.chain], self.key)

    def damaged(self, change: object) -> Node:
        """The same with its DER changed, which need not be a certificate any more."""
        return replace(self, certificate=Damaged(change(self.der())))

    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def list(self, *revoked: x509.Certificate, starts: float = -1.0, ends: float = 24.0) -> bytes:
        """Its revocation list, PEM."""
        return ListSigner(self.certificate.subject, self.key, hashes.SHA384()).sign(revoked, starts, ends)


@dataclass
class Damaged:
    """Octets in the place of a certificate."""

    der: bytes

    def public_bytes(self, _encoding: object) -> bytes:
        return self.der


def authority(cn: str = "root", **changes: object) -> Want:
    return replace(Want(cn=cn, names=None, usages=None, basic=(True, None), ends=48.0, starts=-2.0), **changes)


def make(want: Want, issuer: Node | None = None) -> Node:
    """Signed by `issuer`, or by itself. The chain grows by the issuer unless that is an anchor."""
    key = key_of(want.kind)
    name = x509.Name([] if want.empty_subject else [x509.NameAttribute(NameOID.COMMON_NAME, want.cn)])
    signer = issuer.key if issuer else key
    builder = (x509.CertificateBuilder().subject_name(name)
               .issuer_name(issuer.certificate.subject if issuer else name)
               .public_key(key.public_key()).serial_number(x509.random_serial_number())
               .not_valid_before(hours(want.starts)).not_valid_after(hours(want.ends))
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False))
    for extension, critical in _extensions(want):
        builder = builder.add_extension(extension, critical)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else HASHES[want.digest]()
    above = [] if issuer is None or _is_self_signed(issuer) else [issuer.certificate, *issuer.chain]
    return Node(builder.sign(signer, digest), key, above)


def _is_self_signed(node: Node) -> bool:
    return node.certificate.issuer == node.certificate.subject


def _extensions(want: Want) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    is_authority = want.basic is not None and want.basic[0]
    if want.basic is not None:
        found.append((x509.BasicConstraints(*want.basic), True))
    if want.key_usage:
        signs = is_authority if want.signs_certificates is None else want.signs_certificates
        lists = signs and want.signs_lists
        found.append((x509.KeyUsage(not signs, False, False, False, False, signs, lists, False, False), True))
    if want.names is not None:
        found.append((x509.SubjectAlternativeName([general_name(name) for name in want.names]), want.empty_subject))
    if want.usages is not None:
        found.append((x509.ExtendedKeyUsage(want.usages), False))
    if want.strange:
        found.append((UNKNOWN, True))
    return found


def openssl(*arguments: object) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def by_openssl(folder: Path, stem: str, issuer: tuple[str, str], key_options: list[str]) -> tuple[str, str]:
    """What python3-cryptography cannot make: RSA-PSS keys, explicit curves; a leaf for either role. Its two paths."""
    key, request, certificate = (folder / f"{stem}.{suffix}" for suffix in ("key", "csr", "pem"))
    extensions = folder / f"{stem}.ext"
    extensions.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                          "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("genpkey", *key_options, "-out", key)
    key.chmod(0o600)
    openssl("req", "-new", "-key", key, "-subj", f"/CN={stem}", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", issuer[0], "-CAkey", issuer[1], "-sha384", "-days", "1",
            "-extfile", extensions, "-out", certificate)
    return str(certificate), str(key)


