"""The messages of TLS 1.2, TLS 1.3 and DTLS 1.2 as octets, and the IANA code points that profiles name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
(HELLO_REQUEST, CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY_REQUEST, NEW_SESSION_TICKET, ENCRYPTED_EXTENSIONS, CERTIFICATE,
 SERVER_KEY_EXCHANGE, CERTIFICATE_REQUEST, SERVER_HELLO_DONE, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED) = (
    0, 1, 2, 3, 4, 8, 11, 12, 13, 14, 15, 16, 20)
(SERVER_NAME, SUPPORTED_GROUPS, POINT_FORMATS, SIGNATURE_ALGORITHMS, ALPN, SIGNED_CERTIFICATE_TIMESTAMP, MASTER_SECRET,
 SESSION_TICKET, PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS, COOKIE, PSK_MODES, POST_HANDSHAKE_AUTH,
 SIGNATURE_ALGORITHMS_CERT, KEY_SHARE, RENEGOTIATION_INFO) = (
    0, 10, 11, 13, 16, 18, 23, 35, 41, 42, 43, 44, 45, 49, 50, 51, 0xFF01)
SERVER_CERTIFICATE_TYPE = 20
TLS10, TLS11, TLS12, TLS13, DTLS12 = 0x0301, 0x0302, 0x0303, 0x0304, 0xFEFD
SCSV = 0x00FF
# RFC 8446 section 4.1.3: this random makes a ServerHello a HelloRetryRequest.
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

VERSIONS = {"TLS1.2": TLS12, "TLS1.3": TLS13, "DTLS1.2": DTLS12}
GROUPS = {"secp256r1": 23, "secp384r1": 24, "secp521r1": 25, "x25519": 29, "x448": 30, "ffdhe2048": 256,
          "ffdhe3072": 257, "ffdhe4096": 258, "ffdhe6144": 259, "ffdhe8192": 260}
SCHEMES = {"rsa_pkcs1_sha256": 0x0401, "rsa_pkcs1_sha384": 0x0501, "rsa_pkcs1_sha512": 0x0601,
           "ecdsa_secp256r1_sha256": 0x0403, "ecdsa_secp384r1_sha384": 0x0503, "ecdsa_secp521r1_sha512": 0x0603,
           "rsa_pss_rsae_sha256": 0x0804, "rsa_pss_rsae_sha384": 0x0805, "rsa_pss_rsae_sha512": 0x0806,
           "ed25519": 0x0807, "ed448": 0x0808, "rsa_pss_pss_sha256": 0x0809, "rsa_pss_pss_sha384": 0x080A,
           "rsa_pss_pss_sha512": 0x080B, "rsa_pkcs1_sha1": 0x0201, "ecdsa_sha1": 0x0203}
SUITES = {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_AES_256_GCM_SHA384": 0x1302, "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
          "TLS_AES_128_CCM_SHA256": 0x1304, "TLS_AES_128_CCM_8_SHA256": 0x1305,
          "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": 0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": 0xC02C,
          "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": 0xC030,
          "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA9, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": 0xCCA8,
          "TLS_ECDHE_ECDSA_WITH_AES_128_CCM": 0xC0AC, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM": 0xC0AD,
          "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384": 0xC024, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384": 0xC028,
          "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": 0xC023, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": 0xC027,
          "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": 0xC00A, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": 0xC014,
          "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": 0xC009, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": 0xC013}
ALERTS = {0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 40: "handshake_failure",
          42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
          46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 50: "decode_error", 51: "decrypt_error",
          70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 100: "no_renegotiation",
          109: "missing_extension", 110: "unsupported_extension", 116: "certificate_required",
          120: "no_application_protocol"}
# Everything that IANA has assigned, and its surroundings: what a server must not pick unless its profile says so.
ALL_SUITES = (*range(0x0000, 0x00FF), *range(0x1300, 0x1310), *range(0xC001, 0xC100), *range(0xCC00, 0xCCB0),
              *range(0xD000, 0xD010))
ALL_GROUPS = (*range(1, 64), *range(250, 270), *range(510, 520), *range(4580, 4600), 0x6399, 0xFE30, 0xFE31, 0xFF01,
              0xFF02)
ALL_SCHEMES = (*(hash_code << 8 | key for hash_code in range(0, 7) for key in range(0, 5)),
               *range(0x0700, 0x0710), *range(0x0800, 0x0820), *range(0x0900, 0x0910))


def names_of(codes: object, table: dict[str, int]) -> list[str]:
    known = {code: name for name, code in table.items()}
    return [known.get(code, f"0x{code:04x}") for code in codes]


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def numbers(values: object, width: int = 2, prefix: int = 2) -> bytes:
    return vector(b"".join(value.to_bytes(width, "big") for value in values), prefix)


class Reader:
    """Takes a message apart; a message that is too short is an error of the test."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at:self.at + size]
        assert len(piece) == size, (self.at, size, self.data.hex())
        self.at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def rest(self) -> bool:
        return self.at < len(self.data)


def read_numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at:at + 2], "big") for at in range(0, len(data), 2)]


def read_extensions(data: bytes) -> dict[int, bytes]:
    reader, found = Reader(data), {}
    while reader.rest():
        kind = reader.number(2)
        assert kind not in found, f"extension {kind} twice"
        found[kind] = reader.vector(2)
    return found


def write_extensions(extensions: dict[int, bytes]) -> bytes:
    return vector(b"".join(kind.to_bytes(2, "big") + vector(data, 2) for kind, data in extensions.items()), 2)


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(body, 3)


@dataclass
class ClientHello:
    version: int = TLS12
    random: bytes = field(default_factory=lambda: os.urandom(32))
    session: bytes = b""
    cookie: bytes | None = None  # DTLS only: empty at first
    suites: tuple[int, ...] = ()
    extensions: dict[int, bytes] = field(default_factory=dict)

    def body(self) -> bytes:
        cookie = b"" if self.cookie is None else vector(self.cookie, 1)
        return (self.version.to_bytes(2, "big") + self.random + vector(self.session, 1) + cookie +
                numbers(self.suites) + b"\x01\x00" + write_extensions(self.extensions))

    @staticmethod
    def decode(body: bytes, datagrams: bool) -> ClientHello:
        reader = Reader(body)
        hello = ClientHello(reader.number(2), reader.take(32), reader.vector(1), reader.vector(1) if datagrams else None)
        hello.suites = tuple(read_numbers(reader.vector(2)))
        assert reader.vector(1) == b"\0", "compression"
        hello.extensions = read_extensions(reader.vector(2))
        return hello

    def list(self, extension: int, prefix: int = 2) -> list[int]:
        """The numbers of an extension that is one vector of them; empty without it."""
        return read_numbers(self.extensions.get(extension, bytes(prefix))[prefix:])


@dataclass
class ServerHello:
    version: int
    random: bytes
    session: bytes
    suite: int
    extensions: dict[int, bytes]

    def body(self) -> bytes:
        extensions = write_extensions(self.extensions) if self.extensions else b""
        return (self.version.to_bytes(2, "big") + self.random + vector(self.session, 1) + self.suite.to_bytes(2, "big") +
                b"\0" + extensions)

    @staticmethod
    def decode(body: bytes) -> ServerHello:
        reader = Reader(body)
        hello = ServerHello(reader.number(2), reader.take(32), reader.vector(1), reader.number(2), {})
        assert reader.number(1) == 0, "compression"
        hello.extensions = read_extensions(reader.vector(2)) if reader.rest() else {}
        return hello

    def real_version(self) -> int:
        chosen = self.extensions.get(SUPPORTED_VERSIONS)
        return int.from_bytes(chosen, "big") if chosen else self.version


def client_hello(versions: list[int], suites: object, groups: object, schemes: object, alpn: str | None = "ntpgate/1",
                 shares: dict[int, bytes] | None = None, name: str = "localhost", ems: bool = True) -> ClientHello:
    """What an ordinary client of these lists says first."""
    hello = ClientHello(version=DTLS12 if DTLS12 in versions else min(TLS12, max(versions)), suites=tuple(suites))
    if DTLS12 in versions:
        hello.cookie = b""
    host = name.encode()
    extensions = hello.extensions
    extensions[SERVER_NAME] = vector(b"\0" + vector(host, 2), 2)
    extensions[POINT_FORMATS] = b"\x01\x00"
    extensions[SUPPORTED_GROUPS] = numbers(groups)
    extensions[SIGNATURE_ALGORITHMS] = numbers(schemes)
    if alpn:
        extensions[ALPN] = vector(vector(alpn.encode(), 1), 2)
    if ems:
        extensions[MASTER_SECRET] = b""
    extensions[RENEGOTIATION_INFO] = b"\0"
    if TLS13 in versions:
        hello.session = os.urandom(32)
        extensions[SUPPORTED_VERSIONS] = numbers(versions, prefix=1)
        extensions[PSK_MODES] = b"\x01\x01"
        given = b"".join(group.to_bytes(2, "big") + vector(point, 2) for group, point in (shares or {}).items())
        extensions[KEY_SHARE] = vector(given, 2)
    return hello
