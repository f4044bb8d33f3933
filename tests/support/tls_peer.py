"""TLS 1.2, TLS 1.3 and DTLS 1.2 peers of the tests' own, which say and do whatever a test wants to be wrong.

Every message has a name. `plan.before[name]` changes it before it enters the transcript, so that all that follows
agrees with the change; `plan.after[name]` changes what goes out only; `plan.instead[name]` acts in its place.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization

from support import tls_codec as codec
from support.tls_codec import ClientHello, ServerHello, message, numbers, vector
from support.tls_secrets import Keys12, Keys13, Share, Suite, scheme_for, sign
from support.tls_wires import DatagramWire, Ended, StreamWire

NAMES = {codec.HELLO_REQUEST: "HelloRequest", codec.CLIENT_HELLO: "ClientHello", codec.SERVER_HELLO: "ServerHello",
         codec.HELLO_VERIFY_REQUEST: "HelloVerifyRequest", codec.NEW_SESSION_TICKET: "NewSessionTicket",
         codec.ENCRYPTED_EXTENSIONS: "EncryptedExtensions", codec.CERTIFICATE: "Certificate",
         codec.SERVER_KEY_EXCHANGE: "ServerKeyExchange", codec.CERTIFICATE_REQUEST: "CertificateRequest",
         codec.SERVER_HELLO_DONE: "ServerHelloDone", codec.CERTIFICATE_VERIFY: "CertificateVerify",
         codec.CLIENT_KEY_EXCHANGE: "ClientKeyExchange", codec.FINISHED: "Finished"}


class Alert(Exception):
    """What the other side said: level and word."""

    def __init__(self, payload: bytes) -> None:
        self.fatal, self.code = payload[0] == 2, payload[1]
        self.word = codec.ALERTS.get(payload[1], str(payload[1]))
        super().__init__(f"{'fatal' if self.fatal else 'warning'} {self.word}")


def flip(at: int = -1) -> Callable[[bytes], bytes]:
    """Changes one octet; by default the last."""

    def change(data: bytes) -> bytes:
        place = at % len(data)
        return data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1:]

    return change


@dataclass
class Plan:
    """How a peer behaves; the defaults are right."""

    chain: list[bytes] = field(default_factory=list)  # DER, leaf first
    key: object = None
    scheme: int | None = None  # of its own signature; None: one that fits the key
    version: int = codec.TLS12  # a server's choice; a client offers what its hello says
    suite: int | None = None  # a server's choice; None: GCM with AES-256 that fits the key
    group: int | None = None  # a server's choice; None: the first of the client's that these peers have
    alpn: str | None = "ntpgate/1"
    asks: bool = False  # a server: for a certificate
    ems: bool = True  # extended master secret
    session: bytes = b""  # a server of TLS 1.2: its session id
    before: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    after: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    instead: dict[str, Callable[[Peer], None]] = field(default_factory=dict)

    def show(self, leaf: object) -> Plan:
        """Shows a certificate of support.pki."""
        self.key = leaf.key
        self.chain = [each.public_bytes(serialization.Encoding.DER) for each in [leaf.certificate, *leaf.chain]]
        return self


class Peer:
    """What clients and servers have in common: messages, transcript, and a diary for the evidence."""

    def __init__(self, connection: object, plan: Plan, datagrams: bool = False) -> None:
        self.wire = DatagramWire(connection) if datagrams else StreamWire(connection)
        self.plan = plan
        self.transcript = b""
        self.diary: list[str] = []
        self.hello: ClientHello | None = None
        self.answer: ServerHello | None = None
        self.heard: dict[str, bytes] = {}  # bodies of messages, by name
        self.data: list[bytes] = []  # application records
        self.raw_records = self.wire.received  # kind and payload as they came
        self.retries: list[int] = []  # groups that a HelloRetryRequest asked for
        self.suite: Suite | None = None
        self.finished = False
        self._waiting: list[bytes] = []
        self._body_at = 12 if datagrams else 4

    # messages

    def say(self, kind: int, body: bytes, name: str | None = None) -> None:
        name = name or NAMES[kind]
        if name in self.plan.instead:
            self.diary.append(f"-> instead of {name}")
            self.plan.instead[name](self)
            return
        changed = self.plan.before.get(name, bytes)(message(kind, body))
        framed = self.wire.frame(changed)
        self.transcript += framed
        self.diary.append(f"-> {name} {len(framed)}")
        self.wire.send_message(self.plan.after.get(name, bytes)(framed))

    def record(self) -> tuple[int, bytes]:
        kind, payload = self.wire.receive()
        if kind == codec.ALERT:
            alert = Alert(payload)
            self.diary.append(f"<- alert {alert}")
            raise alert
        return kind, payload

    def hear(self, *expected: int) -> bytes:
        """The body of the next handshake message, which must be one of those."""
        while not self._waiting:
            kind, payload = self.record()
            if kind == codec.HANDSHAKE:
                self._waiting = self.wire.messages(payload)
        whole = self._waiting.pop(0)
        name = NAMES.get(whole[0], str(whole[0]))
        self.diary.append(f"<- {name} {len(whole)}")
        assert whole[0] in expected, (name, self.diary)
        self.transcript += whole
        self.heard[name] = whole[self._body_at:]
        self.kind = whole[0]
        return whole[self._body_at:]

    def change_keys(self, sealing: object) -> None:
        if "ChangeCipherSpec" in self.plan.instead:
            self.plan.instead["ChangeCipherSpec"](self)
            return
        self.wire.send(codec.CHANGE_CIPHER_SPEC, b"\x01")
        self.wire.sealing = sealing
        if self.wire.datagrams:
            self.wire.next_epoch()

    def await_change(self, opening: object) -> None:
        while True:
            kind, payload = self.record()
            if kind == codec.CHANGE_CIPHER_SPEC:
                self.wire.opening = opening
                return
            if kind == codec.HANDSHAKE:
                self._waiting += self.wire.messages(payload)

    # application data

    def send_data(self, data: bytes) -> None:
        self.wire.send(codec.APPLICATION_DATA, data)

    def read_data(self) -> bytes:
        """The next application record; messages after the handshake are noted and passed over."""
        while True:
            kind, payload = self.record()
            if kind == codec.APPLICATION_DATA:
                self.data.append(payload)
                return payload
            self.diary.append(f"<- record of type {kind} after the handshake, first octet {payload[0]}")

    # TLS 1.2

    def certificate12(self) -> bytes:
        return vector(b"".join(vector(each, 3) for each in self.plan.chain), 3)

    def secrets12(self, premaster: bytes, client_random: bytes, server_random: bytes, bound: bool) -> None:
        self.randoms = client_random, server_random
        if bound:
            self.master = self.suite.prf(premaster, b"extended master secret", self.suite.digest(self.transcript), 48)
        else:
            self.master = self.suite.prf(premaster, b"master secret", client_random + server_random, 48)
        block = self.suite.prf(self.master, b"key expansion", server_random + client_random, 2 * self.suite.key + 8)
        size = self.suite.key
        self.client_keys = Keys12(block[:size], block[2 * size:2 * size + 4])
        self.server_keys = Keys12(block[size:2 * size], block[2 * size + 4:])

    def finished12(self, who: str) -> bytes:
        return self.suite.prf(self.master, f"{who} finished".encode(), self.suite.digest(self.transcript), 12)

    def scheme(self) -> int:
        return self.plan.scheme if self.plan.scheme is not None else scheme_for(self.plan.key)

    def signature(self, data: bytes) -> bytes:
        scheme = self.scheme()
        return scheme.to_bytes(2, "big") + vector(sign(self.plan.key, scheme, data), 2)

    # TLS 1.3

    def handshake13(self, shared: bytes) -> None:
        suite = self.suite
        zero = bytes(suite.size())
        early = suite.extract(zero, zero)
        self.secret = suite.extract(suite.derive(early, "derived", b""), shared)
        self.client_traffic = suite.derive(self.secret, "c hs traffic", self.transcript)
        self.server_traffic = suite.derive(self.secret, "s hs traffic", self.transcript)

    def application13(self) -> tuple[Keys13, Keys13]:
        """Keys of client and server; the transcript ends with the server's Finished."""
        suite = self.suite
        master = suite.extract(suite.derive(self.secret, "derived", b""), bytes(suite.size()))
        return (Keys13(suite, suite.derive(master, "c ap traffic", self.transcript)),
                Keys13(suite, suite.derive(master, "s ap traffic", self.transcript)))

    def finished13(self, traffic: bytes) -> bytes:
        key = self.suite.expand(traffic, "finished", b"", self.suite.size())
        return hmac.digest(key, self.suite.digest(self.transcript), self.suite.hash)

    def certificate13(self, context: bytes = b"") -> bytes:
        return vector(context, 1) + vector(b"".join(vector(each, 3) + b"\0\0" for each in self.plan.chain), 3)

    def verify13(self, who: str) -> bytes:
        text = b" " * 64 + f"TLS 1.3, {who} CertificateVerify".encode() + b"\0" + self.suite.digest(self.transcript)
        return self.signature(text)

    def fold_retry(self, algorithm: str) -> None:
        """RFC 8446 section 4.4.1: the first ClientHello counts by its hash."""
        digest = hashes.Hash({"sha256": hashes.SHA256, "sha384": hashes.SHA384}[algorithm]())
        digest.update(self.transcript)
        self.transcript = message(254, digest.finalize())

    def close(self) -> None:
        self.wire.close()


def protocols(alpn: str | None) -> bytes:
    return vector(vector(alpn.encode(), 1), 2) if alpn else b""


class Server(Peer):
    """Accepts one client and shakes hands as `plan` says."""

    def accept(self) -> None:
        self.hello = ClientHello.decode(self.hear(codec.CLIENT_HELLO), self.wire.datagrams)
        if self.wire.datagrams and not self.hello.cookie:
            self._ask_cookie()
        suites = [0x1302, 0x1301] if self.plan.version == codec.TLS13 else (
            [0xC030, 0xC02F] if hasattr(self.plan.key, "decrypt") else [0xC02C, 0xC02B])
        code = self.plan.suite if self.plan.suite is not None else next(c for c in suites if c in self.hello.suites)
        self.code = code
        self.suite = Suite.of(code if code in (0x1301, 0x1302, 0xC02B, 0xC02C, 0xC02F, 0xC030) else suites[0])
        groups = [g for g in self.hello.list(codec.SUPPORTED_GROUPS) if g in (23, 24, 25, 29)]
        self.group = self.plan.group if self.plan.group is not None else groups[0]
        self.random = os.urandom(32)
        if self.plan.version == codec.TLS13:
            self._accept13()
        else:
            self._accept12()
        self.finished = True

    def _ask_cookie(self) -> None:
        self.transcript = b""
        body = b"\xfe\xff" + vector(b"sixteen octets..", 1)
        self.say(codec.HELLO_VERIFY_REQUEST, body)
        self.transcript = b""
        self.wire.sent_messages = 1
        self.hello = ClientHello.decode(self.hear(codec.CLIENT_HELLO), True)

    def _accept12(self) -> None:
        plan, hello = self.plan, self.hello
        extensions = {codec.RENEGOTIATION_INFO: b"\0"}
        bound = plan.ems and codec.MASTER_SECRET in hello.extensions
        if bound:
            extensions[codec.MASTER_SECRET] = b""
        if plan.alpn:
            extensions[codec.ALPN] = protocols(plan.alpn)
        version = self.wire.version if plan.version == codec.TLS12 else plan.version
        self.answer = ServerHello(version, self.random, plan.session, self.code, extensions)
        self.say(codec.SERVER_HELLO, self.answer.body())
        self.say(codec.CERTIFICATE, self.certificate12())
        share = Share(self.group if self.group in (23, 24, 25, 29) else 23)
        parameters = b"\x03" + self.group.to_bytes(2, "big") + vector(share.public(), 1)
        parameters = plan.before.get("parameters", bytes)(parameters)
        self.say(codec.SERVER_KEY_EXCHANGE, parameters + self.signature(hello.random + self.random + parameters))
        if plan.asks:
            self.say(codec.CERTIFICATE_REQUEST, b"\x02\x01\x40" + numbers(codec.SCHEMES.values()) + b"\0\0")
        self.say(codec.SERVER_HELLO_DONE, b"")
        shown = codec.Reader(self.hear(codec.CERTIFICATE)).vector(3) if plan.asks else b""
        point = codec.Reader(self.hear(codec.CLIENT_KEY_EXCHANGE)).vector(1)
        self.secrets12(share.secret(point), hello.random, self.random, bound)
        if shown:
            self.hear(codec.CERTIFICATE_VERIFY)
        self.await_change(self.client_keys)
        expected = self.finished12("client")
        assert self.hear(codec.FINISHED) == expected, "the client's Finished is wrong"
        self.change_keys(self.server_keys)
        self.say(codec.FINISHED, self.finished12("server"))

    def _accept13(self) -> None:
        plan, hello = self.plan, self.hello
        shares = codec.Reader(hello.extensions[codec.KEY_SHARE]).vector(2)
        reader, offered = codec.Reader(shares), {}
        while reader.rest():
            group = reader.number(2)
            offered[group] = reader.vector(2)
        if self.group not in offered:
            self._retry()
            reader = codec.Reader(codec.Reader(self.hello.extensions[codec.KEY_SHARE]).vector(2))
            offered = {reader.number(2): reader.vector(2)}
            hello = self.hello
        share = Share(self.group)
        extensions = {codec.SUPPORTED_VERSIONS: b"\x03\x04",
                      codec.KEY_SHARE: self.group.to_bytes(2, "big") +
                      vector(plan.before.get("share", bytes)(share.public()), 2)}
        self.answer = ServerHello(codec.TLS12, self.random, hello.session, self.code, extensions)
        self.say(codec.SERVER_HELLO, self.answer.body())
        self.handshake13(share.secret(offered[self.group]))
        if "EncryptedExtensions" not in plan.instead:
            self.wire.sealing = Keys13(self.suite, self.server_traffic)
        self.wire.opening = Keys13(self.suite, self.client_traffic)
        chosen = {codec.ALPN: protocols(plan.alpn)} if plan.alpn else {}
        self.say(codec.ENCRYPTED_EXTENSIONS, codec.write_extensions(chosen))
        if plan.asks:
            wanted = {codec.SIGNATURE_ALGORITHMS: numbers(codec.SCHEMES.values())}
            self.say(codec.CERTIFICATE_REQUEST, b"\0" + codec.write_extensions(wanted))
        self.say(codec.CERTIFICATE, self.certificate13())
        self.say(codec.CERTIFICATE_VERIFY, self.verify13("server"))
        self.say(codec.FINISHED, self.finished13(self.server_traffic))
        client, server = self.application13()
        if plan.asks:
            context = codec.Reader(self.hear(codec.CERTIFICATE))
            context.vector(1)
            if context.vector(3):
                self.hear(codec.CERTIFICATE_VERIFY)
        expected = self.finished13(self.client_traffic)
        assert self.hear(codec.FINISHED) == expected, "the client's Finished is wrong"
        self.wire.opening, self.wire.sealing = client, server

    def _retry(self) -> None:
        self.fold_retry(self.suite.hash)
        extensions = {codec.SUPPORTED_VERSIONS: b"\x03\x04", codec.KEY_SHARE: self.group.to_bytes(2, "big")}
        retry = ServerHello(codec.TLS12, codec.RETRY, self.hello.session, self.code, extensions)
        self.say(codec.SERVER_HELLO, retry.body(), "HelloRetryRequest")
        self.hello = ClientHello.decode(self.hear(codec.CLIENT_HELLO), False)


class Client(Peer):
    """Offers `hello` and shakes hands as `plan` says."""

    def offer(self, hello: ClientHello) -> ServerHello:
        """Says hello and reads the answer; a cookie that is asked for is shown."""
        self.hello = hello
        self.say(codec.CLIENT_HELLO, hello.body())
        body = self.hear(codec.SERVER_HELLO, codec.HELLO_VERIFY_REQUEST)
        if self.kind == codec.HELLO_VERIFY_REQUEST:
            self.transcript = b""
            hello.cookie = self.plan.before.get("cookie", bytes)(codec.Reader(body[2:]).vector(1))
            self.say(codec.CLIENT_HELLO, hello.body())
            body = self.hear(codec.SERVER_HELLO)
        self.answer = ServerHello.decode(body)
        return self.answer

    def shares(self, groups: list[int]) -> dict[int, bytes]:
        self._shares = {group: Share(group) for group in groups}
        return {group: share.public() for group, share in self._shares.items()}

    def connect(self, hello: ClientHello) -> None:
        answer = self.offer(hello)
        self.suite = Suite.of(answer.suite)
        if answer.real_version() == codec.TLS13:
            self._finish13()
        else:
            self._finish12()
        self.finished = True

    def _finish12(self) -> None:
        self.hear(codec.CERTIFICATE)
        offered = codec.Reader(self.hear(codec.SERVER_KEY_EXCHANGE))
        assert offered.number(1) == 3, "no named curve"
        self.group = offered.number(2)
        share = Share(self.group)
        shared = share.secret(offered.vector(1))
        self.server_scheme = offered.number(2)
        asked = self.hear(codec.CERTIFICATE_REQUEST, codec.SERVER_HELLO_DONE)
        if self.kind == codec.CERTIFICATE_REQUEST:
            reader = codec.Reader(asked)
            reader.vector(1)
            self.asked_schemes = codec.read_numbers(reader.vector(2))
            self.hear(codec.SERVER_HELLO_DONE)
            self.say(codec.CERTIFICATE, self.certificate12())
        point = self.plan.before.get("point", bytes)(share.public())
        self.say(codec.CLIENT_KEY_EXCHANGE, vector(point, 1))
        bound = codec.MASTER_SECRET in self.answer.extensions
        self.secrets12(shared, self.hello.random, self.answer.random, bound)
        if asked and self.plan.chain:
            self.say(codec.CERTIFICATE_VERIFY, self.signature(self.transcript))
        self.change_keys(self.client_keys)
        self.say(codec.FINISHED, self.finished12("client"))
        self.await_change(self.server_keys)
        expected = self.finished12("server")
        assert self.hear(codec.FINISHED) == expected, "the server's Finished is wrong"

    def _finish13(self) -> None:
        if self.answer.random == codec.RETRY:
            self._again()
        chosen = codec.Reader(self.answer.extensions[codec.KEY_SHARE])
        self.group = chosen.number(2)
        self.handshake13(self._shares[self.group].secret(chosen.vector(2)))
        self.wire.opening = Keys13(self.suite, self.server_traffic)
        self.hear(codec.ENCRYPTED_EXTENSIONS)
        asked = self.hear(codec.CERTIFICATE_REQUEST, codec.CERTIFICATE)
        if self.kind == codec.CERTIFICATE_REQUEST:
            wanted = codec.read_extensions(codec.Reader(asked[1:]).vector(2))
            self.asked_schemes = codec.read_numbers(wanted[codec.SIGNATURE_ALGORITHMS][2:])
            self.hear(codec.CERTIFICATE)
        else:
            asked = b""
        self.server_scheme = codec.Reader(self.hear(codec.CERTIFICATE_VERIFY)).number(2)
        expected = self.finished13(self.server_traffic)
        assert self.hear(codec.FINISHED) == expected, "the server's Finished is wrong"
        client, server = self.application13()
        self.wire.sealing = Keys13(self.suite, self.client_traffic)
        if asked:
            self.say(codec.CERTIFICATE, self.certificate13())
            if self.plan.chain:
                self.say(codec.CERTIFICATE_VERIFY, self.verify13("client"))
        self.say(codec.FINISHED, self.finished13(self.client_traffic))
        self.wire.sealing, self.wire.opening = client, server

    def _again(self) -> None:
        """Answers a HelloRetryRequest."""
        asked = self.transcript[-(len(self.heard["ServerHello"]) + 4):]
        self.transcript = self.transcript[:-len(asked)]
        self.fold_retry(self.suite.hash)
        self.transcript += asked
        group = int.from_bytes(self.answer.extensions[codec.KEY_SHARE], "big")
        self.retries.append(group)
        given = b"".join(g.to_bytes(2, "big") + vector(p, 2) for g, p in self.shares([group]).items())
        self.hello.extensions[codec.KEY_SHARE] = vector(given, 2)
        if codec.COOKIE in self.answer.extensions:
            self.hello.extensions[codec.COOKIE] = self.answer.extensions[codec.COOKIE]
        self.say(codec.CLIENT_HELLO, self.hello.body())
        self.answer = ServerHello.decode(self.hear(codec.SERVER_HELLO))


def outcome(action: Callable[[], None]) -> str:
    """"done", or how the other side ended it."""
    try:
        action()
    except Alert as alert:
        return f"alert {alert.word}"
    except Ended as ended:
        return "closed" if "end of stream" in str(ended) or "reset" in str(ended).lower() else f"ended: {ended}"
    return "done"
