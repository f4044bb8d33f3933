# What Debian 12 has to provide, and how to ask for it; sourced by deploy/quickstart.sh and tests/run.sh.
# shellcheck shell=bash disable=SC2034

build_packages=(meson ninja-build pkg-config g++ libssl-dev libssh-dev nettle-dev libuv1-dev libyaml-cpp-dev
    libcli11-dev libfmt-dev libspdlog-dev libseccomp-dev nlohmann-json3-dev doctest-dev)
# The programs that ntpgate is tested against, and those that test it.
test_packages=(clang clang-format clang-tidy libclang-rt-14-dev chrony ntpsec-ntpdate ntpsec-ntpdig stunnel4 socat
    openssl gnutls-bin strace iproute2 nftables systemd util-linux python3 python3-pytest python3-pytest-xdist
    python3-cryptography python3-yaml openssh-client openssh-server ssh-audit sslscan python3-paramiko)

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Asks apt only for what is not there, and for no privilege when nothing is missing.
install_missing() {
    local missing=() package as_root=()
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    echo "installing: ${missing[*]}" >&2
    "${as_root[@]}" apt-get update -q >&2
    # env: sudo forgets variables. Nothing is removed or recommended beside what is asked for.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
}
