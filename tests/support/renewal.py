"""Credentials that are replaced while they are in use, in the ways administrators and orchestrators do it."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509

from support.gateway import Gateway, Json
from support.pki import Authority, Leaf, pem, write_key


class MountedSecret:
    """A folder as container orchestrators mount it: its names lead through ..data into a folder that is replaced as a
    whole, by one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        self._files: dict[str, bytes] = {}
        folder.mkdir()

    def put(self, **files: bytes) -> None:
        """Further files, or others in the place of those there; `name_ext` is name.ext."""
        self._files |= {name.replace("_", "."): data for name, data in files.items()}
        self._number += 1
        version = self.folder / f"..{self._number}"
        version.mkdir()
        for name, data in self._files.items():
            with os.fdopen(os.open(version / name, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(data)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        fresh = self.folder / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self.folder / "..data")

    def kept(self) -> dict[str, bytes]:
        return dict(self._files)

    def restore(self, files: dict[str, bytes]) -> None:
        self._files = dict(files)
        self.put()

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def show(self, leaf: Leaf) -> None:
        """The certificate and the key of one side."""
        scratch = self.folder / "..scratch"
        key = Path(write_key(scratch, leaf.key)).read_bytes()
        scratch.unlink()
        self.put(own_pem=chain_of(leaf), own_key=key)

    def trust(self, *authorities: Authority) -> None:
        self.put(ca_pem=b"".join(pem(each.certificate) for each in authorities))

    def lists(self, *lists: bytes) -> None:
        self.put(ca_crl=b"".join(lists))

    def block(self) -> Json:
        """The `tls:` block that names what is there."""
        block: Json = {"ca": self.path("ca.pem"), "certificate": self.path("own.pem"), "key": self.path("own.key")}
        return block | ({"crl": [self.path("ca.crl")]} if "ca.crl" in self._files else {})


def chain_of(leaf: Leaf) -> bytes:
    return b"".join(pem(each) for each in [leaf.certificate, *leaf.chain])


def serial(certificate: x509.Certificate) -> str:
    """As records write it: whole octets in hexadecimal."""
    text = f"{certificate.serial_number:x}"
    return text if len(text) % 2 == 0 else "0" + text


def reloaded(gateway: Gateway, changed: set[str], before: int = 0) -> Json:
    """Waits for the record behind the first `before` ones that says exactly this changed."""
    def found() -> list[Json]:
        return [record for record in gateway.events("credentials_reloaded", outcome="success")[before:]
                if set(record["changed"]) == changed]
    return gateway.wait_until(found, f"credentials_reloaded {changed}")[0]
