"""TLS peers as Python makes them, with every property a test may want to be wrong."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

ALPN = "ntpgate/1"


@dataclass
class Peer:
    """How one side of a handshake behaves; `identity` is (certificate, key), absent = none is shown."""

    ca: str | None = None
    identity: tuple[str, str] | None = None
    alpn: tuple[str, ...] = (ALPN,)
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ciphers: str | None = None  # of TLS 1.2; 1.3 suites cannot be chosen here

    def context(self, server: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED if self.ca else ssl.CERT_NONE
        if self.oldest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        context.minimum_version, context.maximum_version = self.oldest, self.newest
        if self.ca:
            context.load_verify_locations(self.ca)
        if self.identity:
            context.load_cert_chain(*self.identity)
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        return context


def connect(peer: Peer | ssl.SSLContext, address: tuple[str, int], name: str = "localhost",
            timeout: float = 5.0) -> ssl.SSLSocket:
    """A finished handshake, or the ssl or socket exception that ended it.

    In TLS 1.3 a client is finished before the server has judged its certificate: a refusal shows at the first read.
    A ready context spares many connections the loading of files.
    """
    context = peer.context(server=False) if isinstance(peer, Peer) else peer
    raw = socket.create_connection(address, timeout)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise
