#!/usr/bin/env python3
"""Proves the arrows of the tree: gateway -> transports, gateway -> ntp-shim, and no others.

    check_layering.py ROOT          every include of every production file obeys the rules below
    check_layering.py --self-test   each rule is broken once in a scratch tree, and seen to be
"""

import re
import sys
import tempfile
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*(?P<open>[<"])(?P<path>[^>"]+)[>"]')
MAY_INCLUDE = {"ntp-shim": {"ntp-shim"}, "transports": {"transports"}, "gateway": {"gateway", "transports", "ntp-shim"}}

# Which files may see a library; nobody else may. Paths are matched from their beginning.
LIBRARIES = {
    "openssl/": re.compile(r"transports/d?tls_|ntp-shim/(keyed_digest|secret|nts_ratchet)\."),
    "nettle/": re.compile(r"ntp-shim/nts_"),
    "arpa/inet.h": re.compile(r"ntp-shim/peer_list\.|transports/|gateway/"),
    "libssh/": re.compile(r"transports/ssh_"),
    "uv.h": re.compile(r"transports/|gateway/"),
    "yaml-cpp/": re.compile(r"gateway/(config|profile)"),
    "CLI/": re.compile(r"gateway/(command_line|main)"),
    "fmt/": re.compile(r"gateway/"),
    "spdlog/": re.compile(r"gateway/"),
    "nlohmann/": re.compile(r"gateway/"),
    "seccomp.h": re.compile(r"gateway/confinement"),
    "linux/landlock.h": re.compile(r"gateway/confinement"),
}
STANDARD = frozenset("""
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono cinttypes climits
cmath codecvt compare complex concepts condition_variable coroutine csetjmp csignal cstdarg cstddef cstdint cstdio
cstdlib cstring ctime cuchar cwchar cwctype deque exception execution filesystem format forward_list fstream functional
future initializer_list iomanip ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource
mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore set shared_mutex
source_location span sstream stack stdexcept stop_token streambuf string string_view syncstream system_error thread
tuple type_traits typeindex typeinfo unordered_map unordered_set utility valarray variant vector version
""".split())


def faults_of(path: str, quoted: bool, included: str) -> str | None:
    """Why `path` may not include `included`; nothing when it may."""
    area = path.split("/")[0]
    target = included.split("/")[0]
    if quoted:
        if target not in MAY_INCLUDE:
            return "not root-relative"
        return None if target in MAY_INCLUDE[area] else f"{area} does not know {target}"
    for library, allowed in LIBRARIES.items():
        if included.startswith(library):
            return None if allowed.match(path) else f"{library} is not for this file"
    if area == "ntp-shim" and included not in STANDARD:
        return "ntp-shim includes the standard library only"
    if target in MAY_INCLUDE:
        return "our own headers are included with quotes"
    return None


def check(root: Path) -> list[str]:
    found, files = [], 0
    for area in MAY_INCLUDE:
        for path in sorted((root / area).rglob("*.[ch]pp")):
            files += 1
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                name = str(path.relative_to(root))
                fault = match and faults_of(name, match["open"] == '"', match["path"])
                if fault:
                    found.append(f"{name}:{number}: {match['path']}: {fault}")
    return found if files else [f"{root}: no production files"]


PLANTED = {
    "ntp-shim/a.cpp": '#include "transports/channel.hpp"',
    "ntp-shim/b.hpp": '#include "gateway/config.hpp"',
    "ntp-shim/c.cpp": "#include <sys/socket.h>",
    "ntp-shim/d.cpp": "#  include <openssl/evp.h>",
    "ntp-shim/e.cpp": "#include <arpa/inet.h>",
    "ntp-shim/f.cpp": "#include <nettle/aes.h>",
    "transports/a.cpp": '#include "ntp-shim/time.hpp"',
    "transports/b.cpp": '#include "gateway/config.hpp"',
    "transports/c.cpp": "#include <openssl/ssl.h>",
    "transports/d.cpp": "#include <yaml-cpp/yaml.h>",
    "transports/e.cpp": "#include <libssh/libssh.h>",
    "gateway/a.cpp": "#include <openssl/ssl.h>",
    "gateway/b.cpp": "#include <CLI/CLI.hpp>",
    "gateway/c.cpp": "#include <yaml-cpp/yaml.h>",
    "gateway/d.cpp": '#include "config.hpp"',
    "gateway/f.cpp": "#include <seccomp.h>",
    "gateway/e.cpp": "#include <transports/channel.hpp>",
    "gateway/g.cpp": "#include <libssh/libssh.h>",
}
HARMLESS = {
    "ntp-shim/nts_ratchet.cpp": "#include <nettle/aes.h>\n#include <openssl/kdf.h>",
    "ntp-shim/keyed_digest.cpp": '#include <openssl/evp.h>',
    "ntp-shim/fine.cpp": '#include <span>\n#include "ntp-shim/time.hpp"',
    "transports/tls_fine.cpp": '#include <openssl/ssl.h>\n#include <uv.h>\n#include "transports/channel.hpp"',
    "transports/ssh_fine.cpp": '#include <libssh/libssh.h>\n#include "transports/channel.hpp"',
    "gateway/config_fine.cpp": '#include <yaml-cpp/yaml.h>\n#include "ntp-shim/time.hpp"',
    "gateway/main.cpp": '#include <CLI/CLI.hpp>\n#include "transports/channel.hpp"',
}


def self_test() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in (PLANTED | HARMLESS).items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text + "\n", encoding="utf-8")
        found = {line.split(":")[0] for line in check(root)}
    return [f"{name}: planted, not found" for name in sorted(PLANTED.keys() - found)] + [
        f"{name}: harmless, yet found" for name in sorted(HARMLESS.keys() & found)]


def main() -> int:
    found = self_test() if sys.argv[1:] == ["--self-test"] else check(Path(sys.argv[1]))
    print("\n".join(found) or "every include obeys")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
