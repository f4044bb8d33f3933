"""OCSP responders: the stock one of OpenSSL, and one that says whatever a test wants to be said."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from support.pki import Authority, Leaf, hours, now, pem, write_key
from support.processes import Process, Supervisor

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN


@dataclass
class Says:
    """What is said of one certificate."""

    certificate: x509.Certificate
    issuer: Authority
    status: ocsp.OCSPCertStatus = GOOD
    starts: float = -1.0  # hours from now
    ends: float | None = 24.0
    signer: Leaf | Authority | None = None  # None: the issuer
    spoil: Callable[[bytes], bytes] = field(default=lambda response: response)

    def response(self, request: ocsp.OCSPRequest | None = None) -> bytes:
        signer = self.signer or self.issuer
        revoked = self.status == REVOKED
        builder = ocsp.OCSPResponseBuilder().add_response(
            self.certificate, self.issuer.certificate, hashes.SHA1(), self.status, hours(self.starts),
            None if self.ends is None else hours(self.ends), hours(-1) if revoked else None,
            x509.ReasonFlags.key_compromise if revoked else None)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if isinstance(signer, Leaf):
            builder = builder.certificates([signer.certificate])
        if request is not None:
            for extension in request.extensions:
                if isinstance(extension.value, x509.OCSPNonce):
                    builder = builder.add_extension(extension.value, False)
        return self.spoil(builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def flip_signature(response: bytes) -> bytes:
    """One bit of the signature: it stands last where no certificates follow."""
    return response[:-1] + bytes([response[-1] ^ 1])


def unwilling(_: bytes) -> bytes:
    return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
        serialization.Encoding.DER)


class Responder:
    """Answers on a loopback port of the kernel's choice; `says` may be changed at any time."""

    def __init__(self) -> None:
        self.says: dict[int, Says] = {}  # by serial number
        self.asked: list[int] = []
        self.raw: bytes | None = None  # the whole body, whatever was asked
        self.silent = threading.Event()  # set: takes the question and says nothing
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(question.serial_number)
                if outer.silent.is_set():
                    outer.over.wait(30)
                    return
                body = outer.raw if outer.raw is not None else outer.says[question.serial_number].response(question)
                self.send_response(200)
                self.send_header("Content-Type", "application/ocsp-response")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.over = threading.Event()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/status"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def say(self, *all_of_them: Says) -> None:
        for says in all_of_them:
            self.says[says.certificate.serial_number] = says

    def __enter__(self) -> Responder:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class StockResponder:
    """`openssl ocsp` for one authority, on a port that the kernel chooses; it knows the certificates of its index."""

    def __init__(self, supervisor: Supervisor, folder: Path) -> None:
        self.folder = folder
        self.supervisor = supervisor
        self.process: Process | None = None
        self.port = 0

    def serve(self, authority: Authority, *known: tuple[x509.Certificate, bool], signer: Leaf | None = None) -> None:
        """`known`: certificates, and whether each is revoked. Starts anew on the port it had."""
        self.stop()
        self.folder.mkdir(exist_ok=True)
        ca = self.folder / "ca.pem"
        ca.write_bytes(pem(authority.certificate))
        key = write_key(self.folder / "signer.key", signer.key if signer else authority.key)
        certificate = self.folder / "signer.pem"
        certificate.write_bytes(pem(signer.certificate if signer else authority.certificate))
        (self.folder / "index.txt").write_text("".join(index_line(*each) for each in known))
        argv = ["openssl", "ocsp", "-index", str(self.folder / "index.txt"), "-CA", str(ca), "-rsigner",
                str(certificate), "-rkey", key, "-port", str(self.port), "-nmin", "60", "-ignore_err"]
        self.process = self.supervisor.start(argv, "openssl-ocsp")
        said = self.process.out
        self.process.wait_until(lambda: any("ACCEPT" in line for line in said), "a port")
        line = next(line for line in said if "ACCEPT" in line)
        self.port = int(line.split()[1].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process = None


def index_line(certificate: x509.Certificate, revoked: bool) -> str:
    end = certificate.not_valid_after.strftime("%y%m%d%H%M%SZ")
    since = now().strftime("%y%m%d%H%M%SZ") if revoked else ""
    serial = f"{certificate.serial_number:X}"
    serial = serial if len(serial) % 2 == 0 else "0" + serial
    return f"{'R' if revoked else 'V'}\t{end}\t{since}\t{serial}\tunknown\t/CN=any\n"
