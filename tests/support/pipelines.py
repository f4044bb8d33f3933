"""The pipelines that ntpgate replaces: stunnel + socat, and socat alone, on either side."""

from __future__ import annotations

from pathlib import Path

from support.daemons import SOCAT, free_tcp_port, stunnel, wait_for_tcp, wait_for_udp
from support.pki import TrialPki
from support.processes import Supervisor, free_port

Address = tuple[str, int]


def stunnel_socat_server(supervisor: Supervisor, folder: Path, pki: TrialPki, daemon: Address) -> int:
    """stunnel takes TLS and hands the bytes to socat, which makes a datagram of each; the TLS port."""
    plain, port = free_tcp_port(), free_tcp_port()
    supervisor.start([SOCAT, f"tcp4-listen:{plain},bind=127.0.0.1,reuseaddr,fork", f"udp4:{daemon[0]}:{daemon[1]}"],
                     "socat")
    wait_for_tcp(plain)
    stunnel(supervisor, folder, {
        "accept": f"127.0.0.1:{port}", "connect": f"127.0.0.1:{plain}", "CAfile": pki.ca, "verifyChain": "yes",
        "cert": pki.server_certificate, "key": pki.server_key})
    wait_for_tcp(port)
    return port


def socat_tls_server(supervisor: Supervisor, pki: TrialPki, daemon: Address) -> int:
    """socat alone takes TLS; the TLS port."""
    port = free_tcp_port()
    supervisor.start([SOCAT, f"openssl-listen:{port},bind=127.0.0.1,reuseaddr,fork,verify=1,cafile={pki.ca},"
                      f"cert={pki.server_certificate},key={pki.server_key}", f"udp4:{daemon[0]}:{daemon[1]}"], "socat")
    wait_for_tcp(port)
    return port


def stunnel_socat_client(supervisor: Supervisor, folder: Path, pki: TrialPki, target: Address) -> int:
    """socat takes datagrams, one TCP connection for each; stunnel carries it; the UDP port."""
    plain, port = free_tcp_port(), free_port()
    stunnel(supervisor, folder, {
        "client": "yes", "accept": f"127.0.0.1:{plain}", "connect": f"{target[0]}:{target[1]}", "CAfile": pki.ca,
        "verifyChain": "yes", "checkHost": "localhost", "cert": pki.client_certificate, "key": pki.client_key})
    wait_for_tcp(plain)
    supervisor.start([SOCAT, f"udp4-recvfrom:{port},bind=127.0.0.1,fork", f"tcp4:127.0.0.1:{plain}"], "socat")
    wait_for_udp(port)
    return port


def socat_tls_client(supervisor: Supervisor, pki: TrialPki, target: Address) -> int:
    """socat alone takes datagrams and makes a TLS channel of each; the UDP port."""
    port = free_port()
    supervisor.start([SOCAT, f"udp4-recvfrom:{port},bind=127.0.0.1,fork",
                      f"openssl-connect:localhost:{target[1]},pf=ip4,verify=1,cafile={pki.ca},"
                      f"cert={pki.client_certificate},key={pki.client_key}"], "socat")
    wait_for_udp(port)
    return port
