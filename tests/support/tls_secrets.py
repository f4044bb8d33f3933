"""What instrumented TLS peers compute with: key schedules, records under AES-GCM, key shares and signatures."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from support import tls_codec as codec

CURVES = {23: ec.SECP256R1, 24: ec.SECP384R1, 25: ec.SECP521R1}
UNCOMPRESSED = (serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


@dataclass(frozen=True)
class Suite:
    """One of those that these peers can speak."""

    code: int
    hash: str
    key: int  # octets

    @staticmethod
    def of(code: int) -> Suite:
        wide = code in (0x1302, 0xC02C, 0xC030)
        assert wide or code in (0x1301, 0xC02B, 0xC02F), f"0x{code:04x}"
        return Suite(code, "sha384" if wide else "sha256", 32 if wide else 16)

    def digest(self, data: bytes) -> bytes:
        return hashlib.new(self.hash, data).digest()

    def size(self) -> int:
        return hashlib.new(self.hash).digest_size

    def prf(self, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
        """RFC 5246 section 5."""
        seed, out, link = label + seed, b"", label + seed
        while len(out) < size:
            link = hmac.digest(secret, link, self.hash)
            out += hmac.digest(secret, link + seed, self.hash)
        return out[:size]

    def expand(self, secret: bytes, label: str, context: bytes, size: int) -> bytes:
        """RFC 8446 section 7.1."""
        info = (size.to_bytes(2, "big") + codec.vector(b"tls13 " + label.encode(), 1) + codec.vector(context, 1))
        out, block, counter = b"", b"", 1
        while len(out) < size:
            block = hmac.digest(secret, block + info + bytes([counter]), self.hash)
            out, counter = out + block, counter + 1
        return out[:size]

    def derive(self, secret: bytes, label: str, transcript: bytes) -> bytes:
        return self.expand(secret, label, self.digest(transcript), self.size())

    def extract(self, salt: bytes, material: bytes) -> bytes:
        return hmac.digest(salt, material, self.hash)


class Share:
    """An ephemeral key of one group."""

    def __init__(self, group: int) -> None:
        self.group = group
        self._key = x25519.X25519PrivateKey.generate() if group == 29 else ec.generate_private_key(CURVES[group]())

    def public(self) -> bytes:
        return self._key.public_key().public_bytes(*(RAW if self.group == 29 else UNCOMPRESSED))

    def secret(self, peer: bytes) -> bytes:
        if self.group == 29:
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(peer))
        return self._key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVES[self.group](), peer))


def _hash_of(scheme: int) -> hashes.HashAlgorithm:
    if scheme >> 8 == 8:
        return {4: hashes.SHA256, 5: hashes.SHA384, 6: hashes.SHA512, 9: hashes.SHA256, 10: hashes.SHA384,
                11: hashes.SHA512}[scheme & 0xFF]()
    return {2: hashes.SHA1, 4: hashes.SHA256, 5: hashes.SHA384, 6: hashes.SHA512}[scheme >> 8]()


def sign(key: object, scheme: int, data: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    digest = _hash_of(scheme)
    if isinstance(key, rsa.RSAPrivateKey):
        form = padding.PSS(padding.MGF1(digest), digest.digest_size) if scheme >> 8 == 8 else padding.PKCS1v15()
        return key.sign(data, form, digest)
    return key.sign(data, ec.ECDSA(digest))


def scheme_for(key: object) -> int:
    """One that fits the key in every version."""
    if isinstance(key, rsa.RSAPrivateKey):
        return codec.SCHEMES["rsa_pss_rsae_sha384"]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return codec.SCHEMES["ed25519"]
    return {256: 0x0403, 384: 0x0503, 521: 0x0603}[key.curve.key_size]


class Keys12:
    """One direction of TLS 1.2 or DTLS 1.2 (RFC 5288)."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._gcm, self._salt, self.number = AESGCM(key), salt, 0

    def seal(self, kind: int, version: int, plain: bytes, number: int | None = None) -> bytes:
        if number is None:
            number, self.number = self.number, self.number + 1
        explicit = number.to_bytes(8, "big")
        head = explicit + bytes([kind]) + version.to_bytes(2, "big") + len(plain).to_bytes(2, "big")
        return explicit + self._gcm.encrypt(self._salt + explicit, plain, head)

    def open(self, kind: int, version: int, sealed: bytes, number: int | None = None) -> tuple[int, bytes]:
        if number is None:
            number, self.number = self.number, self.number + 1
        head = (number.to_bytes(8, "big") + bytes([kind]) + version.to_bytes(2, "big") +
                (len(sealed) - 24).to_bytes(2, "big"))
        return kind, self._gcm.decrypt(self._salt + sealed[:8], sealed[8:], head)


class Keys13:
    """One direction of TLS 1.3 (RFC 8446 section 5.2)."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self._gcm = AESGCM(suite.expand(secret, "key", b"", suite.key))
        self._iv = suite.expand(secret, "iv", b"", 12)
        self.number = 0

    def _nonce(self) -> bytes:
        nonce = int.from_bytes(self._iv, "big") ^ self.number
        self.number += 1
        return nonce.to_bytes(12, "big")

    def seal(self, kind: int, _version: int, plain: bytes) -> bytes:
        head = bytes([codec.APPLICATION_DATA]) + b"\x03\x03" + (len(plain) + 17).to_bytes(2, "big")
        return self._gcm.encrypt(self._nonce(), plain + bytes([kind]), head)

    def open(self, kind: int, _version: int, sealed: bytes) -> tuple[int, bytes]:
        head = bytes([kind]) + b"\x03\x03" + len(sealed).to_bytes(2, "big")
        plain = self._gcm.decrypt(self._nonce(), sealed, head).rstrip(b"\0")
        return plain[-1], plain[:-1]
