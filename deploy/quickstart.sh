#!/usr/bin/env bash
# NTP through an authenticated TLS channel, on this machine, in one command: installs what is missing, builds, makes
# throw-away certificates, starts both head-ends on loopback ports of the kernel's choice, asks the time through them,
# prints what came, stops everything. Needs no privilege apart from apt; touches no clock; may run twice at once.
#
#   deploy/quickstart.sh                    builds into build/
#   NTPGATE=/path/to/ntpgate deploy/quickstart.sh    installs and builds nothing
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
samples=4
# All paths end at this machine's own clock: what differs from zero is measurement error.
bound_ms=1

build() {
    # shellcheck source=deploy/packages.sh
    . "$root/deploy/packages.sh"
    install_missing "${build_packages[@]}"
    [ -f "$root/build/build.ninja" ] || meson setup "$root/build" "$root" >&2
    meson compile -C "$root/build" gateway/ntpgate >&2
    ntpgate=$root/build/gateway/ntpgate
}

dir=
pids=()
stop_everything() {
    trap - EXIT
    # In reverse: whoever asks ends before whom it asks.
    local at
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        kill "${pids[at]}" 2>/dev/null || true
        wait "${pids[at]}" 2>/dev/null || true
    done
    [ -z "$dir" ] || rm -rf "$dir"
}

die() {
    echo "quickstart: $1" >&2
    [ ! -f "${2:-}" ] || tail -n 20 "$2" >&2
    exit 1
}

# Waits at most ten seconds until the command succeeds.
until_ok() {
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    return 1
}

# The address that tunnel $2 of the ntpgate logging to $1 listens on, from its `started` record.
listening() {
    python3 - "$1" "$2" <<'PYTHON'
import json, sys
for line in open(sys.argv[1], encoding="utf-8"):
    if line.startswith('{"seq":') and json.loads(line)["event"] == "started":
        print(next(each["listen"][0] for each in json.loads(line)["tunnels"] if each["name"] == sys.argv[2]))
        break
else:
    sys.exit(1)
PYTHON
}

free_udp_port() {
    python3 - <<'PYTHON'
import socket
with socket.socket(type=socket.SOCK_DGRAM) as probe:
    probe.bind(("127.0.0.1", 0))
    print(probe.getsockname()[1])
PYTHON
}

start_ntpgate() { # NAME: runs $dir/NAME.yaml
    "$ntpgate" run -c "$dir/$1.yaml" >"$dir/$1.out" 2>"$dir/$1.log" &
    pids+=($!)
    until_ok grep -q '"event":"started"' "$dir/$1.log" || die "$1 did not start" "$dir/$1.log"
}

# A chronyd of our own that serves this machine's clock, as an unsynchronised stratum 3 server, and never sets it.
start_chronyd() {
    local program port user=(-U -u "$(id -un)")
    program=$(PATH=$PATH:/usr/sbin:/sbin command -v chronyd) || return 1
    [ "$(id -u)" != 0 ] || user=(-u root)
    # A copy: the host's AppArmor profile for chronyd would not let it read our folder.
    cp "$program" "$dir/chronyd"
    mkdir -m 770 "$dir/run"
    port=$(free_udp_port)
    cat >"$dir/chrony.conf" <<EOF
port $port
bindaddress 127.0.0.1
allow 127.0.0.0/8
local stratum 3
cmdport 0
bindcmdaddress $dir/run/chronyd.sock
pidfile $dir/run/chronyd.pid
driftfile $dir/run/drift
EOF
    "$dir/chronyd" -x -d "${user[@]}" -f "$dir/chrony.conf" >"$dir/chronyd.log" 2>&1 &
    pids+=($!)
    chronyd=127.0.0.1:$port
    until_ok "$ntpgate" query "ntp://$chronyd" -n 1 --timeout 1s || die "chronyd does not answer" "$dir/chronyd.log"
}

tls_server="tls: {ca: pki/ca.pem, certificate: pki/server.pem, key: pki/server.key, allow: [\"DNS:ntpgate-client\"]}"
tls_client="tls: {ca: pki/ca.pem, certificate: pki/client.pem, key: pki/client.key, server-name: localhost}"

write_tunnels() { # ROLE
    echo "tunnels:"
    local name key value
    for name in "${upstreams[@]}"; do
        if [ "$1" = server ]; then
            key=upstream value="{clock: {free-running: true}}"
            [ "$name" = clock ] || value=\"$chronyd\"
            printf '  - {name: %s, role: server, listen: "127.0.0.1:0", %s: %s, channel: tls,\n     %s}\n' \
                "$name" "$key" "$value" "$tls_server"
        else
            printf '  - {name: %s, role: client, listen: "127.0.0.1:0", connect: ["%s"], channel: tls,\n     %s}\n' \
                "$name" "$(listening "$dir/server.log" "$name")" "$tls_client"
        fi
    done
}

# Asks ADDRESS in the background: every path has the same seconds.
ask() { # FILE ADDRESS
    "$ntpgate" query "ntp://$2" -n "$samples" --json >"$dir/$1.json" 2>"$dir/$1.err" &
    asking+=($!)
}

print_table() {
    python3 - "$bound_ms" "$@" <<'PYTHON'
import json, sys
bound, bad = float(sys.argv[1]), 0
print(f"\n{'path':<58} {'offset':>12} {'delay':>12}  verdict")
for entry in sys.argv[2:]:
    path, name = entry.split("=")
    try:
        said = json.load(open(name, encoding="utf-8"))
    except (OSError, ValueError):
        said = {"error": {"reason": "no answer"}}
    if "error" in said:
        verdict, figures = said["error"]["reason"], f"{'-':>12} {'-':>12}"
    else:
        verdict = "ok" if abs(said["offset"]) * 1000 < bound else f"more than {bound:g} ms off"
        figures = f"{said['offset'] * 1000:>+9.3f} ms {said['delay'] * 1000:>9.3f} ms"
    bad += verdict != "ok"
    print(f"{path:<58} {figures}  {verdict}")
sys.exit(1 if bad else 0)
PYTHON
}

if [ -n "${NTPGATE:-}" ]; then
    ntpgate=$NTPGATE
else
    build
fi
[ -x "$ntpgate" ] || die "no program at $ntpgate"
trap stop_everything EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
dir=$(mktemp -d)

"$ntpgate" keygen pki --out "$dir/pki" >"$dir/keygen.log" 2>&1 || die "keygen failed" "$dir/keygen.log"
upstreams=(clock)
chronyd=
! start_chronyd || upstreams+=(chronyd)
write_tunnels server >"$dir/server.yaml"
start_ntpgate server
write_tunnels client >"$dir/client.yaml"
start_ntpgate client

asking=()
rows=()
if [ -n "$chronyd" ]; then
    ask direct "$chronyd"
    rows+=("chronyd, asked directly=$dir/direct.json")
fi
for name in "${upstreams[@]}"; do
    ask "$name" "$(listening "$dir/client.log" "$name")"
    what=chronyd
    [ "$name" = chronyd ] || what="its own clock"
    rows+=("client role -> TLS -> server role -> $what=$dir/$name.json")
done
echo "asking $samples times on each path ..." >&2
wait "${asking[@]}" || true
print_table "${rows[@]}"
