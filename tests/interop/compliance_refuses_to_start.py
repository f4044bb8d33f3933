"""What keeps ntpgate from starting under a protection profile: broken cryptography, a changed program, a forbidden choice;
and what `profile` and `check` say of it."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from support.gateway import NTPGATE, ROOT, client_tunnel, command, server_tunnel, write_config
from support.processes import Process, free_port
from support.ssh import client_of, server_of

CLOCK = {"clock": {"free-running": True}}
LATER = ["ndcpp-2.1", "ndcpp-2.2e", "ndcpp-3.0e", "ndcpp-4.0", "ndcpp-4.0-cnsa1"]
BROKEN = {"EVP_Digest": "SHA-256", "EVP_CipherFinal_ex": "AES-128-GCM", "EVP_DigestVerify": "ECDSA P-256",
          "EVP_KDF_derive": "HKDF"}


def ended(supervisor, config: Path, name: str, prefix: list[str] | None = None) -> tuple[int, Process]:
    child = supervisor.start([NTPGATE, "run", "-c", str(config)], name, prefix or [])
    return child.wait(), child


def records(child: Process) -> list[dict[str, object]]:
    return [json.loads(line) for line in child.err if line.startswith('{"seq":')]


@pytest.mark.parametrize("function", sorted(BROKEN))
def test_a_wrong_answer_of_one_primitive_ends_it_before_any_socket(function, folder, trial_pki, supervisor):
    library = folder / "broken_crypto.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests/support/broken_crypto.cpp")],
                   check=True)
    port = free_port(socket.SOCK_STREAM)
    config = write_config(folder / "broken.yaml",
                          [server_tunnel(CLOCK, trial_pki.server(), listen=f"127.0.0.1:{port}")])
    trace = folder / "trace"
    code, child = ended(supervisor, config, "broken",
                        ["strace", "-f", "-o", str(trace), "-e", "trace=socket,bind", "-E", f"LD_PRELOAD={library}",
                         "-E", f"BROKEN_CRYPTO={function}"])
    assert code == 3, child.err
    (record,) = records(child)
    assert (record["event"], record["outcome"], record["reason"], record["sfr"]) == (
        "self_test_failed", "failure", "broken_primitive", "FPT_TST_EXT.1"), record
    assert BROKEN[function] in record["text"], record
    assert "bind(" not in trace.read_text() and "AF_INET" not in trace.read_text(), trace.read_text()


@pytest.mark.parametrize("door", ["check", "run", "query", "stdio"])
def test_an_ssh_library_that_takes_wrong_tags_moves_no_time(door, folder, keys):
    """CVE-2026-59847, played: what opens a packet says yes whatever its tag is."""
    library = folder / "broken_crypto.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests/support/broken_crypto.cpp")],
                   check=True)
    by_sshd = server_of(CLOCK, keys) | {"name": "by-sshd", "listen": "stdio", "ssh": {}}
    config = write_config(folder / "ssh.yaml", [server_of(CLOCK, keys), client_of("127.0.0.1:9", keys), by_sshd])
    arguments = {"check": [], "run": [], "query": ["--tunnel", "client", "--json"], "stdio": ["--tunnel", "by-sshd"]}[door]
    done = command(door, "-c", str(config), *arguments,
                   prefix=["env", f"LD_PRELOAD={library}", "BROKEN_CRYPTO=EVP_DecryptFinal"])
    assert done.returncode == 3, done
    assert "aes256-gcm@openssh.com: a packet with a wrong tag is taken" in done.stdout + done.stderr, done


def own_profile(folder: Path, name: str = "own.yaml") -> Path:
    """As modern, under a name of its own."""
    text = (ROOT / "configs/profiles/modern.yaml").read_text(encoding="utf-8")
    path = folder / name
    path.write_text(text.replace("name: modern\n", "name: own\n"), encoding="utf-8")
    return path


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *[str(argument) for argument in arguments]], check=True, capture_output=True)


def sign(folder: Path, kind: str, files: list[Path]) -> Path:
    """A manifest of these files and its signature, as an operator makes them."""
    manifest, key = folder / "manifest", folder / "signer.pem"
    listing = subprocess.run(["sha256sum", *map(str, files)], check=True, capture_output=True, text=True).stdout
    manifest.write_text(listing)
    option = {"RSA": ["rsa_keygen_bits:2048"], "EC": ["ec_paramgen_curve:P-256"], "ED25519": []}[kind]
    openssl("genpkey", "-algorithm", kind, *[word for each in option for word in ("-pkeyopt", each)], "-out", key)
    openssl("pkey", "-in", key, "-pubout", "-out", folder / "signer.pub")
    if kind == "ED25519":
        openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", manifest, "-out", f"{manifest}.sig")
    else:
        openssl("dgst", "-sha256", "-sign", key, "-out", f"{manifest}.sig", manifest)
    return manifest


def integrity_config(folder: Path, trial_pki, **top: object) -> Path:
    return write_config(folder / "signed.yaml", [server_tunnel(CLOCK, trial_pki.server())],
                        integrity={"manifest": "manifest", "key": "signer.pub"}, **top)


@pytest.mark.parametrize("kind", ["RSA", "EC", "ED25519"])
def test_a_signed_program_and_profile_start(kind, folder, trial_pki, supervisor):
    profile = own_profile(folder)
    sign(folder, kind, [Path(NTPGATE).resolve(), profile])
    config = integrity_config(folder, trial_pki, profile="./own.yaml")
    child = supervisor.start([NTPGATE, "run", "-c", str(config)], "signed")
    child.wait_for_line('"event":"started"')
    assert child.stop() == 0
    (loaded,) = [record for record in records(child) if record["event"] == "config_loaded"]
    assert loaded == loaded | {"subject": str(config), "sha256": hashlib.sha256(config.read_bytes()).hexdigest(),
                               "profile": "own", "profile-file": str(profile),
                               "profile-sha256": hashlib.sha256(profile.read_bytes()).hexdigest()}, loaded


@pytest.mark.parametrize("file", ["own.yaml", "signed.yaml"])
def test_what_was_read_is_compared_not_what_is_there_by_now(file, folder, trial_pki, supervisor):
    """A file that is another one while it is parsed, and the signed one when the manifest is looked at."""
    library = folder / "first_read.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-o", str(library), str(ROOT / "tests/support/first_read.cpp")],
                   check=True)
    profile = own_profile(folder)
    config = integrity_config(folder, trial_pki, profile="./own.yaml")
    sign(folder, "EC", [Path(NTPGATE).resolve(), profile, config])
    child = supervisor.start([NTPGATE, "run", "-c", str(config)], "signed")
    child.wait_for_line('"event":"started"')
    assert child.stop() == 0
    honest = folder / file
    (folder / f"{file}.first").write_text(honest.read_text() + "# widened\n")
    code, child = ended(supervisor, config, "swapped", ["env", f"LD_PRELOAD={library}", f"FIRST_READ={honest}"])
    assert code == 3, child.err
    (record,) = records(child)
    assert record["text"].endswith(f"{honest}: what is in use is not the file that was signed"), record


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_key_that_others_can_replace_vouches_for_nothing(mode, folder, trial_pki):
    profile = own_profile(folder)
    sign(folder, "EC", [Path(NTPGATE).resolve(), profile])
    config = integrity_config(folder, trial_pki, profile="./own.yaml")
    (folder / "signer.pub").chmod(mode)
    for door in ("check", "run"):
        done = command(door, "-c", str(config))
        assert done.returncode == 2, done
        assert (f"integrity.key: '{folder}/signer.pub' can be written by others (expected mode 0644 or less)"
                in done.stdout + done.stderr), done


def edit_profile(folder: Path) -> str:
    (folder / "own.yaml").write_text((folder / "own.yaml").read_text() + "# widened\n")
    return "own.yaml: what is in use is not the file that was signed"


def edit_manifest(folder: Path) -> str:
    manifest = folder / "manifest"
    profile = folder / "own.yaml"
    profile.write_text(profile.read_text() + "# widened\n")
    lines = manifest.read_text().splitlines(keepends=True)
    digest = hashlib.sha256(profile.read_bytes()).hexdigest()
    manifest.write_text("".join(digest + line[64:] if "own.yaml" in line else line for line in lines))
    return "the signature is not by the key"


def leave_out_program(folder: Path) -> str:
    sign(folder, "EC", [folder / "own.yaml"])
    return "is not in it"


def leave_out_profile(folder: Path) -> str:
    sign(folder, "EC", [Path(NTPGATE).resolve()])
    return "own.yaml is not in it"


def another_signer(folder: Path) -> str:
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "other.pem")
    openssl("pkey", "-in", folder / "other.pem", "-pubout", "-out", folder / "signer.pub")
    return "the signature is not by the key"


def remove_signature(folder: Path) -> str:
    (folder / "manifest.sig").unlink()
    return "the signature in its .sig"


def remove_listed_file(folder: Path) -> str:
    extra = folder / "extra"
    extra.write_text("x")
    sign(folder, "EC", [Path(NTPGATE).resolve(), folder / "own.yaml", extra])
    extra.unlink()
    return "extra: No such file"


@pytest.mark.parametrize("spoil", [edit_profile, edit_manifest, leave_out_program, leave_out_profile, another_signer,
                                   remove_signature, remove_listed_file], ids=lambda spoil: spoil.__name__)
def test_what_was_not_signed_does_not_start(spoil, folder, trial_pki, supervisor):
    profile = own_profile(folder)
    sign(folder, "EC", [Path(NTPGATE).resolve(), profile])
    config = integrity_config(folder, trial_pki, profile="./own.yaml")
    expected = spoil(folder)
    code, child = ended(supervisor, config, "unsigned")
    assert code == 3, child.err
    (record,) = records(child)
    assert (record["event"], record["reason"]) == ("self_test_failed", "integrity") and expected in record["text"], record
    done = command("check", "--json", "-c", str(config))
    document = json.loads(done.stdout)
    assert done.returncode == 3 and document["valid"] is False and not document["errors"], done
    assert document["self-test"]["reason"] == "integrity" and expected in document["self-test"]["text"], done
    plain = command("check", "-c", str(config))
    assert plain.returncode == 3 and "self-test failed: integrity: " in plain.stdout and "is valid" not in plain.stdout


def test_fips_required_does_not_start_without_the_provider(folder, trial_pki, supervisor):
    """Where the provider is not installed; OPENSSL_MODULES makes it so everywhere."""
    config = write_config(folder / "fips.yaml", [server_tunnel(CLOCK, trial_pki.server())], fips="required")
    code, child = ended(supervisor, config, "fips", ["env", f"OPENSSL_MODULES={folder}"])
    assert code == 2 and not [line for line in child.err if '"event":"started"' in line], child.err
    assert any("fips: required: the FIPS provider of OpenSSL can not be loaded" in line for line in child.err), child.err
    done = command("check", "--json", "-c", str(config), prefix=["env", f"OPENSSL_MODULES={folder}"])
    assert done.returncode == 2 and json.loads(done.stdout)["valid"] is False


@pytest.mark.parametrize("profile", LATER)
def test_check_refuses_tls_alone_under_the_requirements_name(profile, folder, trial_pki):
    config = write_config(folder / "tls.yaml", [client_tunnel("gw.test:4461", trial_pki.client())], profile=profile)
    done = command("check", "--json", "-c", str(config))
    assert done.returncode == 2
    messages = [error["message"] for error in json.loads(done.stdout)["errors"]]
    assert (f"FCS_NTP_EXT.1.2: channel tls cannot carry the claim under {profile}; use dtls or mac, or add a mac: block"
            in messages), messages


@pytest.mark.parametrize("profile", LATER)
def test_check_prints_what_carries_the_claim_and_why(profile, folder, trial_pki):
    tunnel = client_tunnel("gw.test:4461", {"ca": trial_pki.client()["ca"], "revocation": "soft"})
    del tunnel["channel"]
    config = write_config(folder / "chosen.yaml", [tunnel], profile=profile)
    done = command("check", "-c", str(config))
    assert done.returncode == 0, done
    assert f"dtls (chosen by profile {profile})" in done.stdout
    assert f"dtls, under profile {profile}, FCS_NTP_EXT.1.2: a digest of NTP, or DTLS, carries the claim" in done.stdout


def mac_keys(folder: Path) -> None:
    keys = folder / "ntp.keys"
    keys.write_text(f"7 SHA512 HEX:{'ab' * 32}\n8 SHA1 HEX:{'cd' * 20}\n", encoding="ascii")
    keys.chmod(0o600)


@pytest.mark.parametrize("profile", LATER)
def test_a_digest_carries_the_claim_alone_and_inside_tls(profile, folder, trial_pki):
    mac_keys(folder)
    alone = {"name": "alone", "role": "client", "listen": "127.0.0.2:0", "connect": ["time.test:123"],
             "mac": {"keys": "ntp.keys", "key": 7}}
    tls = {"ca": trial_pki.client()["ca"], "revocation": "soft"}
    inside = client_tunnel("gw.test:4461", tls, listen="127.0.0.3:0", mac={"keys": "ntp.keys", "key": 7})
    config = write_config(folder / "mac.yaml", [alone, inside], profile=profile)
    done = command("check", "--json", "-c", str(config))
    assert done.returncode == 0, done
    claims = [tunnel["claim"] for tunnel in json.loads(done.stdout)["tunnels"]]
    for claim, carrier in zip(claims, ("mac", "mac inside tls"), strict=True):
        assert claim.startswith(f"{carrier}, under profile {profile}, FCS_NTP_EXT.1.2"), claims


@pytest.mark.parametrize("profile", LATER)
def test_sha1_is_refused_under_the_requirements_name(profile, folder):
    mac_keys(folder)
    tunnel = {"name": "old", "role": "client", "listen": "127.0.0.2:0", "connect": ["time.test:123"], "channel": "mac",
              "mac": {"keys": "ntp.keys", "key": 8}}
    done = command("check", "-c", str(write_config(folder / "sha1.yaml", [tunnel], profile=profile)))
    assert done.returncode == 2 and "FCS_NTP_EXT.1.2: its digest SHA1 is not offered" in done.stdout, done


def test_profiles_are_listed_and_shown_as_their_files(folder):
    listed = command("profile", "list")
    names = [line.split()[0] for line in listed.stdout.splitlines()]
    files = {path.stem: path for path in (ROOT / "configs/profiles").glob("*.yaml")}
    assert listed.returncode == 0 and set(names) == set(files) and names[0] == "modern"
    assert [each["name"] for each in json.loads(command("profile", "list", "--json").stdout)["profiles"]] == names
    for name, path in files.items():
        assert command("profile", "show", name).stdout == path.read_text(encoding="utf-8")
        shown = json.loads(command("profile", "show", name, "--json").stdout)
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert shown["tls"] == data["tls"] and shown["mac"]["digests"] == data["mac"]["digests"]
        assert shown["claim"]["claimable"] == data["claim"]["claimable"]
        assert shown["left-out"] == data["left-out"]


def test_a_profile_that_is_none_is_refused_with_its_place(folder):
    own = folder / "own.yaml"
    text = (ROOT / "configs/profiles/ndcpp-4.0.yaml").read_text().replace("name: ndcpp-4.0\n", "name: own\n")
    own.write_text(text.replace("groups: [secp384r1", "groups: [secp999"))
    done = command("profile", "show", str(own))
    assert done.returncode == 2 and not done.stdout and "own.yaml:" in done.stderr and "secp999" in done.stderr, done
    document = json.loads(command("profile", "show", str(own), "--json").stdout)
    assert document["valid"] is False and document["errors"][0]["line"] > 1
    unknown = command("profile", "show", "ndcpp-9")
    assert unknown.returncode == 2 and "there is no profile 'ndcpp-9'" in unknown.stderr, unknown


def test_a_file_can_not_pass_for_the_profile_that_was_evaluated(folder, trial_pki):
    text = (ROOT / "configs/profiles/ndcpp-4.0.yaml").read_text()
    (folder / "weaker.yaml").write_text(text.replace("extended-master-secret: required", "extended-master-secret: offered"))
    tunnel = client_tunnel("gw.test:4461", {"ca": trial_pki.client()["ca"], "revocation": "soft"}, channel="dtls")
    config = write_config(folder / "config.yaml", [tunnel], profile="weaker.yaml")
    for door in ("check", "run"):
        done = command(door, "-c", str(config))
        assert done.returncode == 2, done
        assert re.search(r"weaker\.yaml:\d+:7: name: 'ndcpp-4.0' is the name of a built-in profile, and this is a file "
                         r"\(expected a name of its own, or profile: NAME for the built-in one\)",
                         done.stdout + done.stderr), done
    shown = command("profile", "show", str(folder / "weaker.yaml"))
    assert shown.returncode == 2 and "is the name of a built-in profile" in shown.stderr, shown


def test_the_lab_says_what_it_is_in_every_record(start, trial_pki):
    server = start(server_tunnel(CLOCK, trial_pki.server()), profile="lab")
    assert all(record["lab"] is True for record in server.audit())
    assert any("profile lab is for laboratories" in line for line in server.err)
    server.finish()
